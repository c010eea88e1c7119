import { createHash } from 'node:crypto'
import { createId, type DecisionId, isId } from '@countersign/protocol'
import type { Random } from '../../lib/random.ts'

/** Bytes of an id behind its time. */
const randomLength = 10

/**
 * Ids of exchanges at a receiver's connector. Behind the time, an id holds the hash of the caller's
 * signature over the request, so that the caller knows the id in an answer for one of this very
 * exchange: nobody finds another request with that hash.
 */
export class BoundExchanges {
  readonly #random: Random
  #at = 0
  /** Ids given for the present millisecond: a copy of a request gets one that is on record nowhere. */
  readonly #given = new Set<DecisionId>()

  constructor(random: Random) {
    this.#random = random
  }

  create(at: number, signature: Uint8Array | null): DecisionId {
    if (at !== this.#at) this.#given.clear()
    this.#at = at
    const bound = signature === null ? null : createId('dec', at, boundBytes(signature))
    const isFree = bound !== null && !this.#given.has(bound)
    const id = isFree ? bound : createId('dec', at, this.#random(randomLength))
    this.#given.add(id)
    return id
  }
}

/** Whether an answer to the request that was signed so may name this exchange. */
export function isBoundTo(id: string, signature: Uint8Array): boolean {
  const bound = createId('dec', 0, boundBytes(signature))
  return isId('dec', id) && id.slice(-randomLength * 2) === bound.slice(-randomLength * 2)
}

function boundBytes(signature: Uint8Array): Uint8Array {
  const hash = createHash('sha256').update('countersign-exchange-v1\n').update(signature)
  return new Uint8Array(hash.digest().subarray(0, randomLength))
}
