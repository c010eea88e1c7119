/**
 * Whether a name or id is one with which only the fabric marks its own events. Compared as the laxest reader might:
 * compatibility forms, any case, and without characters that are invisible or blank.
 */
export function isFabricName(text: string): boolean {
  const visible = text.normalize('NFKC').replace(/[\p{Cc}\p{Cf}\p{Z}\p{M}]/gu, '')
  // Dashes of any kind, and what stands in for one in other spellings of field names.
  return visible
    .toLowerCase()
    .replace(/[\p{Pd}\u2212_]/gu, '-')
    .startsWith('countersign-')
}
