const latin1Only = /^[\0-\xff]*$/

/**
 * The same text in memory of its own. The engine makes part of a longer text a reference to it, so
 * a name that is kept could keep megabytes that its sender chose.
 */
export function ownText(text: string): string {
  // Not UTF-8, which has no form for half of a surrogate pair.
  const encoding = latin1Only.test(text) ? 'latin1' : 'utf16le'
  return Buffer.from(text, encoding).toString(encoding)
}
