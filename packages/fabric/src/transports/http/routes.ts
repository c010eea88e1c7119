import type { RouteProtocol } from './classify.ts'
import type { Endpoint } from './upstream.ts'

/** How an agent is reached. */
export interface Route {
  readonly name: string
  readonly protocol: RouteProtocol
  readonly endpoints: readonly Endpoint[]
}

/** The agents that can be reached from here. Synchronous: it stands on the path of every request. */
export interface Routes {
  find(name: string): Route | null
}
