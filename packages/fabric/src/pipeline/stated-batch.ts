import {
  draftBatch,
  logOrigin,
  meshFactsFault,
  noBatchBefore,
  type PackedEntry,
  saltBytes,
  treeRootWith,
} from '@countersign/protocol'
import { encodeEntry } from '../ledger/entry-encoding.ts'
import type { EntryDraft } from '../ledger/ledger.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import { sha256 } from '../lib/sha256.ts'

/** An entry as a connector states it, with salts that it has drawn. */
export interface EncodedStatement extends PackedEntry {
  readonly leafHash: Uint8Array
}

/**
 * Encodes an entry of the connector of `producer`. Throws a TypeError on one that no connector
 * records, before it can spoil a batch.
 */
export function encodeStated(
  { kind, exchange, at, facts }: EntryDraft,
  producer: string,
  random: Random,
): EncodedStatement {
  if (kind === 'genesis' || kind === 'lifecycle' || kind === 'batch' || kind === 'erasure') {
    throw new TypeError(`a connector records no ${kind}`)
  }
  const stated = { ...facts, transport: 'mesh', producer }
  const fault = meshFactsFault({ kind, facts: stated })
  if (fault !== null) throw new TypeError(fault)
  const salts = random(saltBytes * Object.keys(stated).length)
  return encodeEntry({ kind, exchange, at, facts: stated }, salts)
}

/** The agent whose entries are stated. */
export interface Producer {
  readonly spiffeId: string
  readonly trustDomain: string
  readonly signer: { readonly keyId: string; sign(bytes: Uint8Array): Uint8Array }
}

const chainBytes = 16

/**
 * States batches, each as the one after the last that was recorded. A chain ends with a batch of
 * which that is not known: no two statements have one number. The next one names the last statement
 * that was recorded, so that a log which leaves that out shows.
 */
export class BatchChain {
  readonly #producer: Producer
  readonly #parts: { readonly clock: Pick<Clock, 'now'>; readonly random: Random }
  #chain: Uint8Array | null = null
  #origin = ''
  #n = 0
  #prev: Uint8Array = noBatchBefore

  constructor(producer: Producer, parts: { clock: Pick<Clock, 'now'>; random: Random }) {
    this.#producer = producer
    this.#parts = parts
  }

  /** The encoded statement about these entries, in the log of `slot`; to be ended. */
  state(slot: string, entries: readonly Pick<EncodedStatement, 'leafHash'>[]): Uint8Array {
    const { spiffeId, trustDomain, signer } = this.#producer
    const { clock, random } = this.#parts
    const origin = logOrigin(trustDomain, slot)
    if (this.#chain === null || origin !== this.#origin) {
      this.#chain = random(chainBytes)
      this.#origin = origin
      this.#n = 0
    }
    const hashes = entries.map(({ leafHash }) => leafHash)
    const statement = {
      ...{ origin, producer: spiffeId, chain: this.#chain, n: this.#n, prev: this.#prev },
      ...{ size: hashes.length, root: treeRootWith(sha256, hashes), at: clock.now() },
    }
    const draft = draftBatch(statement, signer.keyId)
    return draft.encode(signer.sign(draft.signed))
  }

  end(statement: Uint8Array, isRecorded: boolean): void {
    if (isRecorded) {
      this.#n += 1
      this.#prev = sha256(statement)
    } else {
      this.#chain = null
    }
  }
}
