import type { VerifiedReceipt } from './receipt.ts'
import type { Attestation, Half } from './receipt-attestation.ts'

/** On whose word one fact of a receipt stands. */
export type Source =
  | { readonly by: 'caller' | 'callee' }
  | { readonly by: 'fabric' }
  | { readonly by: 'connector'; readonly producer: string }

/** A fact with the entry that holds it. */
export interface AttributedFact {
  /** Position among the entries of the receipt. */
  readonly entry: number
  readonly name: string
  readonly source: Source
}

const partyOf = { request: 'caller', response: 'callee' } as const

/** The parts of a signature; the party that signed is their source. */
const signatureFacts = ['digest', 'signature', 'signature-base', 'key']

/**
 * The covered components by which a party itself states a fact. An operation is a method of HTTP on
 * plain HTTP alone; that of a call stands in the content, of which a receipt holds only the digest.
 */
function componentsOf(name: string, receipt: Pick<VerifiedReceipt, 'entries'>): readonly string[] {
  switch (name) {
    case 'operation':
      return receipt.entries[0]?.facts['protocol'] === 'http' ? ['"@method"'] : []
    case 'receiver':
      return ['"countersign-to"']
    case 'status':
      return ['"@status"']
    default:
      return []
  }
}

/**
 * Returns the source of a fact of entry `entry`: the party whose signature covers it, or else the
 * recorder of the entry. The caller is named by its key, which the fabric compares with its
 * directory before it records a connector's entry as well.
 */
export function sourceOf(
  receipt: Pick<VerifiedReceipt, 'entries' | 'request' | 'response'>,
  entry: number,
  name: string,
): Source {
  const half: Half = entry === 0 ? 'request' : 'response'
  const { by, signature }: Attestation = receipt[half]
  if (by === partyOf[half] && signature !== null) {
    const isOfSignature =
      name === by ||
      name === `attested.${half}` ||
      signatureFacts.some((part) => name === `${half}.${part}`)
    const isCovered = componentsOf(name, receipt).some((id) => signature.covered.has(id))
    if (isOfSignature || isCovered) return { by: partyOf[half] }
  }
  const producer = receipt.entries[entry]?.producer ?? null
  return producer === null ? { by: 'fabric' } : { by: 'connector', producer }
}

/** Every opened fact of a receipt with its source, entry by entry in the order of their names. */
export function attributedFacts(
  receipt: Pick<VerifiedReceipt, 'entries' | 'request' | 'response'>,
): readonly AttributedFact[] {
  return receipt.entries.flatMap(({ facts }, entry) =>
    Object.keys(facts)
      .toSorted()
      .map((name) => ({ entry, name, source: sourceOf(receipt, entry, name) })),
  )
}
