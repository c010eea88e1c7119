import type { ByteAccount } from '../budgets/body-budget.ts'
import type { StillPermitted } from '../pipeline/delivery.ts'

/** The address at which a receiver listens. */
export interface Endpoint {
  /** `http:` only for loopback or where the operator configures it; `https:` elsewhere. */
  readonly url: string
  /** The SPIFFE ID that the peer's certificate must prove; null on plain HTTP and public TLS. */
  readonly spiffeId: string | null
  /** True if a connector listens there, which decides again on requests that we permitted. */
  readonly connector?: boolean
}

export interface UpstreamRequest {
  readonly method: string
  /** Path with query, to be appended to the endpoint's own path. */
  readonly path: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array
  /**
   * The whole body of a streamed request, in place of `body`: read once, each piece when the
   * receiver has taken the one before. The memory of a piece is given back once it has left, so
   * nothing else may read it. Once it throws, the receiver sees a request that broke off.
   */
  readonly stream?: AsyncIterable<Uint8Array>
  /**
   * Counts the connections that the request has, and its stream, with others of the same owner: of
   * one caller; of one receiver, where one agent alone calls.
   */
  readonly owner: string
  /** Only over HTTP/2: with prior knowledge of it where the endpoint has no TLS. */
  readonly isHttp2?: boolean
  readonly signal: AbortSignal
  /**
   * Asked when a connection is free, just before the first byte leaves; absent where nothing waits.
   */
  readonly still?: StillPermitted
  /** May be sent again after a byte of it left (`isRepeatable`); absent where it may not. */
  readonly isRepeatable?: boolean
  /** Not even as a GET whose connection was stale: at most one copy may leave. */
  readonly isSingle?: boolean
  /** The headers of each attempt, where they differ: a signature of its own, the time left. */
  readonly headersOf?: (attempt: number) => UpstreamRequest['headers']
  /** Bounds of this request, where they are shorter than those of all. */
  readonly bounds?: UpstreamBounds
  /** Asked at the same moment: whether the request may go to this endpoint at all. */
  readonly leadsTo?: (endpoint: Endpoint) => boolean
  /** Counts the head of the response, and the part of its body that waits for its reader. */
  readonly account: ByteAccount
}

export interface UpstreamBounds {
  readonly connectMs: number
  readonly firstByteMs: number
  /** Of silence within the response; 0 for none. */
  readonly idleMs: number
}

export interface UpstreamResponse {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: AsyncIterable<Uint8Array>
  /**
   * The end of the connection ends the body, which has no length and no chunks: whether all of it
   * came is unknown. Over TLS such a body ends with an error.
   */
  readonly endsByClose?: boolean
  /** The fields after the body, once it has ended; absent where they are never read. */
  trailers?(): readonly (readonly [string, string])[]
  /** Gives up the rest of the body and frees the connection. */
  discard(): void
}

/** A response, and how it was obtained. */
export interface BalancedResponse extends UpstreamResponse {
  /** Number of times the request was sent; more than one only for what may be repeated. */
  readonly attempts: number
  /** An earlier copy was sent, and what became of it is unknown. */
  readonly isSecondCopy: boolean
  /** True if a certificate proved that the response is the receiver's own. */
  readonly isProved: boolean
}

/**
 * Sends rebuilt requests to receivers. Resolves with the head and an unread body; rejects with
 * `UpstreamError`, and so does the body once its connection breaks, or with `WithdrawnError` where
 * `still` gave a refusal; as not sent where `leadsTo` gave false. Never follows a redirect, never
 * retries, never pipelines.
 */
export interface Upstream {
  request(endpoint: Endpoint, request: UpstreamRequest): Promise<UpstreamResponse>
  close(): Promise<void>
}
