import type { Limit } from '@countersign/protocol'
import type { PeerIdentity } from '@countersign/protocol/tls'
import type { Identified } from '../pipeline/authenticate.ts'
import type { Exchange } from '../pipeline/exchange.ts'
import { type BodyBudget, type BodyShare, bodyOverheadBytes, waitingBytes } from './body-budget.ts'

/**
 * Permission to read one request body, with the account that its bytes are counted under. Made in
 * this file only, and only for a caller whom the head has identified: to read a body before its
 * head was judged does not compile.
 */
class Admission {
  readonly share: BodyShare
  readonly bodyBytesMax: number
  /** The bytes that the request counts for, without its body, until `ReceivedRequest.begun`. */
  readonly waitingBytes: number
  readonly #limit: Limit['name']

  constructor(share: BodyShare, bodyBytesMax: number, bounds: Bounds) {
    this.share = share
    this.bodyBytesMax = bodyBytesMax
    this.waitingBytes = bounds.waitingBytes
    this.#limit = bounds.limit
  }

  /** The name of the bound on this one body. */
  get limit(): Limit['name'] {
    return this.#limit
  }
}

export type { Admission }

interface Bounds {
  readonly limit: Limit['name']
  readonly waitingBytes: number
}

const identified = { limit: 'limits.bodyBytes', waitingBytes } as const
/** These wait for nothing but their body, for a few seconds. */
const anonymous = { limit: 'http.enrollmentBytes', waitingBytes: bodyOverheadBytes } as const

export interface AdmissionOptions {
  readonly budget: BodyBudget
  readonly bodyBytesMax: number
  /** The network that the connection came from. */
  readonly address: string
}

/** Counted per principal: an agent's instances, keys and tokens share one account. */
export function admitCaller(
  { caller }: Exchange<Identified>,
  options: AdmissionOptions,
): Admission {
  return admit(caller.principal, options, identified)
}

/** The fabric's own gateway, at a connector, by the certificate of the connection. */
export function admitGateway({ spiffeId }: PeerIdentity, options: AdmissionOptions): Admission {
  return admit(spiffeId, options, identified)
}

/**
 * A request for what needs no credential, such as an enrolment. The budget has to be one that no
 * identified client shares.
 */
export function admitAnonymous(options: AdmissionOptions): Admission {
  return admit(options.address, options, anonymous)
}

function admit(
  identity: string,
  { budget, bodyBytesMax, address }: AdmissionOptions,
  bounds: Bounds,
): Admission {
  return new Admission(budget.open(identity, address), bodyBytesMax, bounds)
}
