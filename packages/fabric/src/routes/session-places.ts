import type { Route } from './routes.ts'
import { SessionTable } from './session-table.ts'
import type { Endpoint, UpstreamRequest, UpstreamResponse } from './upstream.ts'

const sessionHeader = 'mcp-session-id'

/**
 * The endpoint that opened each MCP session (up to 2025-11-25): the agent's other endpoints do not
 * know it.
 */
export class SessionPlaces {
  /** A session that was forgotten goes to any endpoint. */
  readonly #places = new SessionTable<string>()

  /** Null without a session, or if its endpoint is not one of the route's any more. */
  find({ name, endpoints }: Route, { headers }: UpstreamRequest): string | null {
    if (endpoints.length < 2) return null
    const session = headers.find(([field]) => field === sessionHeader)?.[1]
    const place = session === undefined ? null : this.#places.find(name, session)
    return place !== null && endpoints.some(({ url }) => url === place) ? place : null
  }

  learn({ name, endpoints }: Route, { url }: Endpoint, { headers }: UpstreamResponse): void {
    if (endpoints.length < 2) return
    const session = headers.find(([field]) => field.toLowerCase() === sessionHeader)?.[1]
    if (session !== undefined) this.#places.set(name, session, url)
  }
}
