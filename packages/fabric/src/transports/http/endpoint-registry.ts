import type { Clock } from '../../lib/clock.ts'
import type { RouteProtocol } from './classify.ts'
import type { Route, Routes } from './routes.ts'

/** What an agent or its connector says of where it can be reached. */
export interface RegisteredEndpoint {
  readonly name: string
  readonly url: string
  readonly protocol: RouteProtocol
  /** Whether a connector listens there; others are called by the fabric alone. */
  readonly connector: boolean
  readonly expiresAt: number
}

/**
 * Where agents are reached: what the operator configured, and what live agents registered for
 * themselves. A registration is a lease; an agent that stops renewing it is no longer routed to.
 */
export interface EndpointRegistry extends Routes {
  /** Replaces the registrations of `name`. The name is the authenticated caller's own. */
  register(name: string, endpoints: readonly RegisteredEndpoint[]): void
  /** The operator's own word for `name`; null takes it back. */
  configure(name: string, route: Route | null): void
  configured(): readonly Route[]
  list(): readonly RegisteredEndpoint[]
  onChange(listener: () => void): () => void
}

export const endpointsPerAgentMax = 16
export const endpointTtlSecondsMax = 3600

export function createEndpointRegistry(trustDomain: string, clock: Clock): EndpointRegistry {
  const fixed = new Map<string, Route>()
  const leased = new Map<string, readonly RegisteredEndpoint[]>()
  const listeners = new Set<() => void>()
  const changed = () => {
    for (const listener of listeners) listener()
  }
  const live = (name: string) =>
    (leased.get(name) ?? []).filter(({ expiresAt }) => expiresAt > clock.now())
  return {
    find(name) {
      const configured = fixed.get(name)
      if (configured !== undefined) return configured
      const registered = live(name)
      const [first] = registered
      if (first === undefined) return null
      // The certificate must prove the very agent: an address is a claim, a name is not.
      const spiffeId = `spiffe://${trustDomain}/agent/${name}`
      const endpoints = registered.map(({ url }) => ({ url, spiffeId }))
      return { name, protocol: first.protocol, endpoints }
    },
    register(name, endpoints) {
      const before = JSON.stringify(live(name).map(({ url, protocol }) => [url, protocol]))
      leased.set(name, endpoints.slice(0, endpointsPerAgentMax))
      const after = JSON.stringify(live(name).map(({ url, protocol }) => [url, protocol]))
      if (before !== after) changed()
    },
    configure(name, route) {
      if (route === null) fixed.delete(name)
      else fixed.set(name, route)
      changed()
    },
    configured: () => [...fixed.values()],
    list: () => [...leased.keys()].flatMap(live),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
