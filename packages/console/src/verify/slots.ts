import type { Half } from '@countersign/protocol'

export type Role = 'receipt' | 'trust' | Half

/** The document of a server with many root certificates names its key behind all of them. */
const trustBytesMax = 256 * 1024

/** The slot in which a file was chosen or dropped; null for a drop outside all slots. */
export interface Given {
  readonly slot: Role | null
  /** Of how many files it is one, in a single choice or drop. */
  readonly count: number
}

const advice = 'Choose it under “Trust file” alone, from a source other than the receipt.'

/**
 * Returns the role of a file, or the sentence that refuses it. The trust that a receipt is judged
 * by comes from its own slot, by itself: a folder with a receipt and the sender's own keys must not
 * verify.
 */
export function roleOf(
  { slot, count }: Given,
  bytes: Uint8Array,
): Role | { readonly refused: string } {
  if (slot === 'trust') {
    return count === 1
      ? 'trust'
      : { refused: `came with other files, so it is not used. ${advice}` }
  }
  const role = slot ?? 'receipt'
  if (role !== 'receipt' || !looksLikeTrust(bytes)) return role
  return { refused: `is a trust file, and not a receipt. ${advice}` }
}

/** Serves only to show the reader where a file belongs: one in the wrong slot fails there. */
function looksLikeTrust(bytes: Uint8Array): boolean {
  const start = new TextDecoder().decode(bytes.subarray(0, trustBytesMax))
  // A receipt quotes texts, so that this name cannot stand in it.
  return start.includes('"slotKey"')
}
