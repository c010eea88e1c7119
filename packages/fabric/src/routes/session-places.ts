import type { Clock } from '../lib/clock.ts'
import { RecordCache } from '../state/record-cache.ts'
import { type RecordStore, recordKey } from '../state/record-store.ts'
import type { Route } from './routes.ts'
import type { Endpoint, UpstreamRequest, UpstreamResponse } from './upstream.ts'

/** A UUID has 36, a signed token some hundreds; each is kept for as long as its session. */
export const sessionIdLengthMax = 1024

const sessionHeader = 'mcp-session-id'
/** Of a session that is not used. */
const placeMs = 7 * 24 * 3_600_000
/** After this, the endpoint is read again: a receiver may use an id anew, at another one. */
const freshMs = 200

/**
 * The endpoint that opened each MCP session (up to 2025-11-25), for all processes that share a
 * record store: the agent's other endpoints do not know it.
 */
export class SessionPlaces {
  /** A session that was forgotten goes to any endpoint. */
  readonly #places: RecordCache

  constructor(deps: { readonly store: RecordStore; readonly clock: Pick<Clock, 'monotonic'> }) {
    this.#places = new RecordCache({
      ...{ ...deps, freshMs },
      ...{ collection: 'mcp-endpoint', lifetimeMs: placeMs },
    })
  }

  /**
   * Null without a session. Resolves to null if its endpoint is not one of the route's any more;
   * rejects when the store cannot be read.
   */
  find({ name, endpoints }: Route, { headers }: UpstreamRequest): Promise<string | null> | null {
    const session = endpoints.length < 2 ? null : sessionOf(headers)
    if (session === null) return null
    return this.#places.find(recordKey(name, session)).then((place) => {
      return place !== null && endpoints.some(({ url }) => url === place) ? place : null
    })
  }

  /**
   * Null without a session. Never rejects: a session whose endpoint is not on record goes to any,
   * which answers that it does not know it.
   */
  learn(
    { name, endpoints }: Route,
    { url }: Endpoint,
    { headers }: UpstreamResponse,
  ): Promise<void> | null {
    const session = endpoints.length < 2 ? null : sessionOf(headers)
    if (session === null) return null
    // The name of the receiver is the account: its sessions push out those of no other.
    return this.#places.set(recordKey(name, session), url, name).catch(() => undefined)
  }
}

function sessionOf(headers: UpstreamRequest['headers']): string | null {
  const session = headers.find(([field]) => field.toLowerCase() === sessionHeader)?.[1]
  return session === undefined || session.length > sessionIdLengthMax ? null : session
}
