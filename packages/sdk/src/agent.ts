import { type CallOptions, call } from './call/call.ts'
import { createFetch } from './call/fetch.ts'
import { fetchReceipt, type Receipt } from './call/receipt.ts'
import type { Reply } from './call/reply.ts'
import { channelOf } from './channel/agent-channel.ts'
import type { Channel, ChannelSettings } from './channel/channel.ts'
import { openIdentity } from './identity/identity.ts'
import type { FabricTrust } from './identity/trust.ts'
import { type Clock, systemClock } from './lib/clock.ts'
import { listenerOf } from './serve/handler.ts'
import {
  type AgentHandler,
  type NodeListener,
  type Served,
  type ServeOptions,
  serve,
} from './serve/serve.ts'

export interface AgentOptions {
  /**
   * The line that an operator handed out; needed once. If `dir` holds an identity already, only its
   * address counts, and it has to name the same root.
   */
  readonly join?: string
  /** Directory of this agent alone; holds its private keys, readable only by its owner. */
  readonly dir: string
  readonly clock?: Clock
  /** Receives the failures in the background: a renewal, a registration. Both are tried again. */
  readonly onFault?: (error: Error) => void
}

/** One agent: its identity, and what it can do with it. */
export interface Agent {
  readonly name: string
  readonly spiffeId: string
  readonly trust: FabricTrust
  /** Calls another agent, signed; throws RefusedError or AgentError. */
  call(to: string, options?: CallOptions): Promise<Reply>
  /** `fetch` of `https://<name>.countersign.internal/…` or `<fabric>/agents/<name>/…`, signed. */
  readonly fetch: typeof globalThis.fetch
  /** The receipt of a response of `fetch` whose body was read, checked as `Reply.receipt` does. */
  receiptOf(response: Response): Promise<Receipt>
  /** A verified receipt by the id of its exchange, such as of a request that was served. */
  receipt(exchange: string): Promise<Receipt>
  /** Answers requests with a handler of `Request` and `Response`, countersigned. */
  serve(handler: AgentHandler, options?: ServeOptions): Promise<Served>
  /** The same with a Node listener, such as an express application. */
  serveNode(listener: NodeListener, options?: ServeOptions): Promise<Served>
  /** A channel that this agent is a member of: sealed from end to end, durable, signed. */
  channel(name: string, settings?: ChannelSettings): Channel
  /** Unix milliseconds of the present certificate, which renews itself. */
  expiresAt(): number
  /** Renews the certificate now. */
  renew(): Promise<void>
  /** Stops renewals and closes connections and what it serves. */
  close(): Promise<void>
}

/**
 * Opens the agent that lives in `dir`; the first time, with `join`, it enrols: fetches the trust of
 * the fabric pinned by the hash in the join string, makes its keys, proves them, stores them.
 */
export async function openAgent(options: AgentOptions): Promise<Agent> {
  const { clock = systemClock, onFault = () => undefined } = options
  const identity = await openIdentity({ dir: options.dir, join: options.join, clock, onFault })
  const { fetch, receiptOf } = createFetch(identity, clock)
  const serving = new Set<Served>()
  const serveNode = async (listener: NodeListener, how: ServeOptions = {}): Promise<Served> => {
    const served = await serve(listener, how, { identity, clock, onFault })
    serving.add(served)
    return {
      ...served,
      async close() {
        serving.delete(served)
        await served.close()
      },
    }
  }
  return {
    name: identity.name,
    spiffeId: identity.spiffeId,
    trust: identity.trust,
    fetch,
    receiptOf,
    serveNode,
    call: (to, how = {}) => call(identity, to, { options: how, clock }),
    receipt: (exchange) => fetchReceipt(identity, exchange),
    serve: (handler, how) => serveNode(listenerOf(handler, how?.bodyBytesMax), how),
    channel: (name, settings = {}) => channelOf(identity, name, { ...settings, clock }),
    expiresAt: () => identity.expiresAt(),
    renew: () => identity.renew(),
    async close() {
      await Promise.all([...serving].map((served) => served.close()))
      serving.clear()
      identity.close()
    },
  }
}
