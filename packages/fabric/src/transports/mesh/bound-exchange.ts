import { createHash } from 'node:crypto'
import { createExchangeId, createId, type ExchangeId, isExchangeId } from '@countersign/protocol'

/** Bytes of an id behind its time. */
const boundLength = 10

/** The caller's signature over a request, and the SPIFFE ID of the receiver that verified it. */
export interface Binding {
  readonly signature: Uint8Array
  readonly receiver: string
}

/**
 * The id of an exchange at a receiver's connector, for a signature that was verified there, new and
 * for this receiver. Behind the time, it holds a hash of both, so that the caller recognizes an
 * answer under an exchange of this very request: no other request, and no other receiver that is
 * shown the same signature, has an exchange with that hash.
 */
export function boundExchange(slot: string, at: number, binding: Binding): ExchangeId {
  return createExchangeId(slot, at, boundBytes(binding))
}

/**
 * Reports whether an answer of the receiver to the request with this signature may name this
 * exchange.
 */
export function isBoundTo(id: string, binding: Binding): boolean {
  // Compared behind slot and time, which the receiver chooses.
  const bound = createId('bound', 0, boundBytes(binding))
  return isExchangeId(id) && id.slice(-boundLength * 2) === bound.slice(-boundLength * 2)
}

function boundBytes({ signature, receiver }: Binding): Uint8Array {
  const hash = createHash('sha256').update(`countersign-exchange-v2\n${receiver}\n`)
  return new Uint8Array(hash.update(signature).digest().subarray(0, boundLength))
}
