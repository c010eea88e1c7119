import type {
  ExchangeId,
  PrincipalKey,
  SignableRequest,
  SignedRequest,
} from '@countersign/protocol'
import type { Presented } from '../identity/caller.ts'
import type { Refusal } from '../lib/refusal.ts'
import type { PolicyAction, PolicyContext } from '../policy/policy.ts'
import type { Identified } from './authenticate.ts'
import type { Exchange } from './exchange.ts'
import type { RequestFrames } from './frames.ts'

export type Transport = PolicyContext['transport']

/** The receiver of a message and the operation that it requests, as the transport decoded it. */
export interface Target {
  readonly kind: 'agent' | 'channel' | 'fabric'
  readonly name: string
  readonly action: PolicyAction
  readonly protocol: PolicyContext['protocol']
  readonly operation: string
  readonly tool: string
  /** Of the message; of the first one, where a request carries several. */
  readonly labels: readonly string[]
  /**
   * The other label sets of a request that carries several messages: each is decided on by itself.
   */
  readonly otherLabels?: readonly (readonly string[])[]
  /** The subject of an administrative operation and its reason, for the record. */
  readonly about?: Readonly<Record<string, string>>
  /** Absent where nothing of others can be reached by the message. */
  readonly foreignOwners?: ForeignOwners
}

/**
 * The owners of tasks of others that an exchange reaches: those that its request names, and those
 * of which an answer shows some. The right to go on is the right to all of them, whenever it is
 * asked for.
 */
export interface ForeignOwners {
  /** In canonical form; empty for an owner that is not known. */
  of(caller: PrincipalKey): ReadonlySet<string>
}

/**
 * One message as it came in, parsed once; nothing downstream sees the raw bytes of the request
 * head.
 */
export interface Message {
  readonly method: string
  /**
   * Path and query as they will be authorized and forwarded: normalized, without the route's
   * prefix.
   */
  readonly path: string
  /**
   * Lower-case names; security-relevant names occur once; hop-by-hop and identity names are gone.
   */
  readonly headers: readonly (readonly [string, string])[]
  readonly contentType: string
  /** Of a streamed request: the content of its first frame. */
  readonly body: Uint8Array
  /** The frames of a streamed request; absent where the body was read whole. */
  readonly frames?: RequestFrames
}

/** The credentials of a request, of which nothing else has to be there. */
export interface UncheckedHead {
  readonly transport: Transport
  readonly presented: Presented
}

/**
 * The first message of an exchange, decoded and entirely unchecked: a whole request, or the first
 * frame of one. Only `authenticate` turns it into something more.
 */
export interface FirstMessage {
  /** Of the exchange. */
  readonly id: ExchangeId
  /**
   * Under which the exchange goes on once the caller's signature was verified, where a transport
   * binds the one to the other. A refusal before that keeps `id`, which is bound to nothing.
   */
  readonly boundExchange?: (signature: Uint8Array) => ExchangeId
  readonly at: number
  readonly transport: Transport
  /**
   * The reason why the transport could not decode the message. The caller is still identified, then
   * refused.
   */
  readonly fault: Refusal | null
  /**
   * The reason why the route does not carry the message, of which only the head was read. It is
   * stated behind policy: a caller that may not call the receiver learns nothing about its route.
   * Absent, or null, for any other message.
   */
  readonly faultOfRoute?: Refusal | null
  readonly target: Target
  /** Never what leaves: see `Inspected`. */
  readonly received: Message
  /** The caller's RFC 9421 signature with what it covers; null when the request carried none. */
  readonly signature: PresentedSignature | null
  /** Aborted when the caller leaves; absent where nothing waits for it. */
  readonly left?: AbortSignal
}

/** A decoded request: its first message, and its head as far as the adapter has it. */
export interface UncheckedRequest extends FirstMessage {
  /** Null when the head of the request could not be read; `fault` then gives the reason. */
  readonly presented: Presented | null
  /**
   * The result of `admitHead`. A request whose head was refused is refused for the same reason, and
   * its body has not been read. Null where the adapter had no head before its message.
   */
  readonly head: Exchange<Identified> | Refusal | null
}

/** A signature with the request as its signer saw it, prefix and all. */
export interface PresentedSignature {
  readonly signed: SignedRequest
  readonly request: SignableRequest
}

/** A target; messages to others than a channel have no labels. */
export type DecodedTarget = Omit<Target, 'labels' | 'tool'> &
  Partial<Pick<Target, 'labels' | 'tool'>>

/** The members that a transport has to state; see `UncheckedRequest` for the others. */
type Decoded = Pick<UncheckedRequest, 'id' | 'at' | 'transport' | 'presented'> &
  Partial<Omit<UncheckedRequest, 'target' | 'received'>> & {
    readonly target: DecodedTarget
    readonly received?: Message
  }

const nothingReceived: Message = {
  method: '',
  path: '',
  headers: [],
  contentType: '',
  body: new Uint8Array(0),
}

/** Every transport makes its requests here; what it could not read is absent. */
export function createUncheckedRequest({ target, ...decoded }: Decoded): UncheckedRequest {
  return {
    head: null,
    fault: null,
    signature: null,
    received: nothingReceived,
    ...decoded,
    target: { tool: '', labels: [], ...target },
  }
}
