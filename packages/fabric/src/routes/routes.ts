import { ROUTE_DEFAULTS, type RouteReliability } from '@countersign/protocol'
import type { RouteProtocol } from '../protocols/reading/route-protocol.ts'
import type { Endpoint } from './upstream.ts'

/** The protocol and endpoints by which an agent is reached. */
export interface Route {
  readonly name: string
  readonly protocol: RouteProtocol
  readonly endpoints: readonly Endpoint[]
  /** Absent where the operator has set nothing for it. */
  readonly reliability?: RouteReliability | undefined
}

/** The settings of a route, or the defaults. */
export function reliabilityOf({ reliability }: Pick<Route, 'reliability'>): RouteReliability {
  return reliability ?? ROUTE_DEFAULTS
}

/**
 * Reports whether an exchange that was decided on `route` may still go to `endpoint` now that the
 * route is `now`: an operator moved or deleted it, or the agent's registration ended, while the
 * request waited.
 */
export function leadsTo(now: Route | null, route: Route, endpoint: Endpoint): boolean {
  if (now === route) return true
  if (now === null || now.protocol !== route.protocol) return false
  const { url, spiffeId, connector } = endpoint
  return now.endpoints.some(
    (each) => each.url === url && each.spiffeId === spiffeId && each.connector === connector,
  )
}

/**
 * The agents that can be reached from here. Synchronous: it stands on the path of every request.
 */
export interface Routes {
  find(name: string): Route | null
}
