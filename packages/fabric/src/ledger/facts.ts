import { decodeCbor, equalBytes, saltBytes } from '@countersign/protocol'
import { hmacInto, hmacSha256 } from '../lib/hmac.ts'
import { factBytesBound, writeFact } from './fact-encoding.ts'
import type { FactValue } from './ledger.ts'
import { LedgerDamage } from './store.ts'

/** A fact with what opens its commitment. */
export interface SaltedFact {
  readonly name: string
  readonly value: FactValue
  readonly salt: Uint8Array
}

export interface CommittedFacts {
  readonly commitments: ReadonlyMap<string, Uint8Array>
  /** `salt(32) ‖ uint32 length ‖ encodeFact(name, value)` for each fact: the detail in clear. */
  readonly detail: Buffer
}

const lengthBytes = 4
const codeBytes = 32
/** Facts of most entries are encoded here and copied once. */
const reused = Buffer.allocUnsafeSlow(32 * 1024)

/** Commits to each fact under its own slice of `salts`, which holds 32 bytes for each. */
export function commitFacts(
  facts: Readonly<Record<string, FactValue>>,
  salts: Uint8Array,
): CommittedFacts {
  const names = Object.keys(facts)
  const headBytes = saltBytes + lengthBytes
  let bound = 0
  for (const name of names) bound += headBytes + factBytesBound(name, facts[name] as FactValue)
  const scratch = bound <= reused.length ? reused : Buffer.allocUnsafeSlow(bound)
  const codes = Buffer.allocUnsafe(names.length * codeBytes)
  const commitments = new Map<string, Uint8Array>()
  let at = 0
  for (const [i, name] of names.entries()) {
    const salt = salts.subarray(i * saltBytes, (i + 1) * saltBytes)
    const start = at + headBytes
    const end = writeFact(scratch, start, name, facts[name] as FactValue)
    scratch.set(salt, at)
    scratch.writeUInt32BE(end - start, at + saltBytes)
    hmacInto(codes, i * codeBytes, salt, scratch.subarray(start, end))
    commitments.set(name, codes.subarray(i * codeBytes, (i + 1) * codeBytes))
    at = end
  }
  return { commitments, detail: Buffer.from(scratch.subarray(0, at)) }
}

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
    const commitment = commitments.get(name)
    if (commitment === undefined || !equalBytes(commitment, hmacSha256(salt, encoded))) {
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
