import { type KeyObject, sign } from 'node:crypto'
import {
  encodeEntryPayload,
  factsMax,
  noPreviousLeaf,
  prepareStatement,
  type SignStatement,
  saltBytes,
  statementContentType,
} from '@countersign/protocol'
import type { Random } from '../lib/random.ts'
import type { DetailVault } from './details.ts'
import { commitFacts } from './facts.ts'
import { leafHash } from './hash.ts'
import type { EntryDraft } from './ledger.ts'
import type { LoggedEntry } from './record.ts'

export interface StatementKey {
  /** As the trust file names it; 1 to 64 bytes. */
  readonly keyId: Uint8Array
  /** Ed25519. */
  readonly privateKey: KeyObject
}

/** The key that verifies a producer's statements. */
export interface ProducerKey {
  readonly keyId: Uint8Array
  /** Raw Ed25519. */
  readonly publicKey: Uint8Array
}

/**
 * The state that binds a producer's next statement to its last: nothing can be left out between
 * them.
 */
export interface ProducerState {
  readonly n: number
  readonly prev: Uint8Array
}

export const newProducer: ProducerState = { n: 0, prev: noPreviousLeaf }

export interface WrittenEntry extends LoggedEntry {
  readonly leafHash: Uint8Array
}

export interface StatementWriterParts {
  readonly issuer: string
  readonly key: StatementKey
  readonly vault: DetailVault
  readonly random: Random
  readonly detailBytesMax: number
  readonly after: ProducerState
}

const nonceBytes = 32
/** One call into the generator for a few dozen entries: each call costs as much as two hashes. */
const randomPoolBytes = 16 * 1024

/** The content of every statement's header in a ledger, in addition to the key. */
export function statementHeader(issuer: string, keyId: Uint8Array) {
  return { keyId, issuer, subject: 'entry', contentType: statementContentType }
}

/** Turns drafts into leaves, in the order in which they will stand in the log. */
export class StatementWriter {
  readonly #parts: StatementWriterParts
  readonly #encode: (payload: Uint8Array, sign: SignStatement) => Uint8Array
  readonly #sign: SignStatement
  #state: ProducerState
  #pool: Uint8Array = new Uint8Array(0)

  constructor(parts: StatementWriterParts) {
    this.#parts = parts
    this.#state = parts.after
    this.#encode = prepareStatement(statementHeader(parts.issuer, parts.key.keyId))
    this.#sign = (bytes) => sign(null, bytes, parts.key.privateKey)
  }

  /** Throws, with the counter unchanged, on a draft that cannot be a leaf. */
  write(draft: EntryDraft, index: number): WrittenEntry {
    const { vault, detailBytesMax } = this.#parts
    const count = Object.keys(draft.facts).length
    if (count > factsMax) throw new RangeError('the entry has too many facts')
    const secret = this.#random(nonceBytes + saltBytes * count)
    const { commitments, detail } = commitFacts(draft.facts, secret.subarray(nonceBytes))
    if (detail.length > detailBytesMax) throw new RangeError('the facts of the entry are too large')
    const payload = encodeEntryPayload({
      exchange: draft.exchange,
      kind: draft.kind,
      at: draft.at,
      n: this.#state.n,
      prev: this.#state.prev,
      facts: commitments,
      nonce: secret.subarray(0, nonceBytes),
    })
    const statement = this.#encode(payload, this.#sign)
    const leaf = leafHash(statement)
    this.#state = { n: this.#state.n + 1, prev: leaf }
    return { statement, detail: vault.seal(index, detail), leafHash: leaf }
  }

  /** Fresh bytes, never given out twice. */
  #random(count: number): Uint8Array {
    if (this.#pool.length < count) this.#pool = this.#parts.random(randomPoolBytes)
    const taken = this.#pool.subarray(0, count)
    this.#pool = this.#pool.subarray(count)
    return taken
  }
}
