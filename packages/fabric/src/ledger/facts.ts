import { commitmentInput, decodeCbor, equalBytes, saltBytes } from '@countersign/protocol'
import { sha256 } from '../lib/sha256.ts'
import type { FactValue } from './ledger.ts'
import { LedgerDamage } from './store.ts'

/** A fact with what opens its commitment. */
export interface SaltedFact {
  readonly name: string
  readonly value: FactValue
  readonly salt: Uint8Array
}

const lengthBytes = 4

/**
 * The facts of a detail. Throws LedgerDamage unless every commitment of the leaf is opened by
 * exactly one of them: a holder of the detail key can encrypt other facts, but not commit to them.
 */
export function openFacts(
  detail: Buffer,
  commitments: ReadonlyMap<string, Uint8Array>,
): readonly SaltedFact[] {
  const facts: SaltedFact[] = []
  const names = new Set<string>()
  for (let at = 0; at < detail.length; ) {
    const start = at + saltBytes + lengthBytes
    if (start > detail.length) throw new LedgerDamage('a detail ends early')
    const end = start + detail.readUInt32BE(at + saltBytes)
    if (end > detail.length) throw new LedgerDamage('a detail ends early')
    const salt = detail.subarray(at, at + saltBytes)
    const encoded = detail.subarray(start, end)
    const { name, value } = parseFact(encoded)
    // At once: a client could have one fact hashed as often as it fits into a detail.
    if (names.has(name)) throw new LedgerDamage(`the detail holds the fact ${name} twice`)
    const commitment = commitments.get(name)
    if (
      commitment === undefined ||
      !equalBytes(commitment, sha256(commitmentInput(salt, encoded)))
    ) {
      throw new LedgerDamage(`the fact ${name} is not the one that the leaf commits to`)
    }
    names.add(name)
    facts.push({ name, value, salt })
    at = end
  }
  if (names.size !== commitments.size || facts.length !== names.size) {
    throw new LedgerDamage('the detail holds other facts than the leaf')
  }
  return facts
}

function parseFact(encoded: Uint8Array): { name: string; value: FactValue } {
  // Not as a Buffer: its slices are views, and a fact outlives the bytes that it came in.
  const item = decodeCbor(new Uint8Array(encoded))
  if (Array.isArray(item) && item.length === 2) {
    const [name, value]: readonly unknown[] = item
    if (typeof name === 'string' && isFactValue(value)) return { name, value }
  }
  throw new LedgerDamage('a fact is malformed')
}

function isFactValue(value: unknown): value is FactValue {
  return (
    typeof value === 'string' ||
    typeof value === 'number' ||
    typeof value === 'boolean' ||
    value instanceof Uint8Array
  )
}
