import { isAssignableName, ListenerSet, type RouteReliability } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { RouteProtocol } from '../protocols/reading/route-protocol.ts'
import type { Route, Routes } from './routes.ts'

/** The address at which an agent can be reached, as the agent or its connector states it. */
export interface RegisteredEndpoint {
  readonly name: string
  readonly url: string
  readonly protocol: RouteProtocol
  /** True if a connector listens there; others are called by the fabric alone. */
  readonly connector: boolean
  readonly expiresAt: number
}

/**
 * The endpoints of agents: those that the operator configured, and those that live agents
 * registered for themselves. A registration is a lease; the fabric stops routing to an agent that
 * stops renewing it.
 */
export interface EndpointRegistry extends Routes {
  /**
   * Replaces what one instance of `name` registered. The name is the authenticated caller's own;
   * the instance is its word, and reaches no further than that name.
   */
  register(name: string, instance: string, endpoints: readonly RegisteredEndpoint[]): void
  /** Drops all that instances of `name` registered: the agent was enrolled again. */
  forget(name: string): void
  /** The operator's own word for `name`; null takes it back. */
  configure(name: string, route: Route | null): void
  configured(): readonly Route[]
  /** The settings of each route that has any, regardless of where its endpoints come from. */
  settings(): RouteSettingsByName
  list(): readonly RegisteredEndpoint[]
  onChange(listener: () => void): () => void
}

export const endpointsPerInstanceMax = 16
/**
 * Maximum number of instances of one agent; beyond it, the one that renewed longest ago is
 * forgotten.
 */
export const instancesPerAgentMax = 64

/** The settings of the operator's file, by the name of the route. */
export type RouteSettingsByName = Readonly<Record<string, RouteReliability>>

export function createEndpointRegistry(
  trustDomain: string,
  clock: Clock,
  settings: RouteSettingsByName = {},
): EndpointRegistry {
  const fixed = new Map<string, Route>()
  const leased = new Map<string, Map<string, readonly RegisteredEndpoint[]>>()
  const listeners = new ListenerSet()
  const isLive = ({ expiresAt }: RegisteredEndpoint) => expiresAt > clock.now()
  const own = new Map(Object.entries(settings))
  const settingsOf = (name: string) => {
    const reliability = own.get(name)
    return reliability === undefined ? {} : { reliability }
  }
  const live = (name: string) => [...(leased.get(name)?.values() ?? [])].flat().filter(isLive)
  return {
    find(name) {
      const configured = fixed.get(name)
      if (configured !== undefined) return configured
      const spoken = ofOneProtocol(live(name))
      if (spoken === null) return null
      // The certificate must prove the very agent: an address is a claim, a name is not.
      const spiffeId = `spiffe://${trustDomain}/agent/${name}`
      const endpoints = spoken.endpoints.map(({ url, connector }) => ({ url, spiffeId, connector }))
      return { name, protocol: spoken.protocol, endpoints, ...settingsOf(name) }
    },
    register(name, instance, endpoints) {
      const instances = leased.get(name) ?? new Map<string, readonly RegisteredEndpoint[]>()
      leased.set(name, instances)
      // Of this instance alone: an agent that registers all the time pays for one, not for all it
      // has.
      const before = pictureOf(instances.get(instance)?.filter(isLive) ?? [])
      instances.delete(instance)
      const kept = endpoints.slice(0, endpointsPerInstanceMax)
      if (kept.length > 0) instances.set(instance, kept)
      const [oldest] = instances.keys()
      const isFull = instances.size > instancesPerAgentMax
      if (isFull && oldest !== undefined) instances.delete(oldest)
      if (isFull || before !== pictureOf(kept)) listeners.notify()
    },
    forget(name) {
      if (leased.delete(name)) listeners.notify()
    },
    configure(name, route) {
      if (!isAssignableName(name)) throw new TypeError(`${name} is reserved, or not a name`)
      if (route === null) fixed.delete(name)
      // Both name it: the file takes precedence over what was put on the running fabric.
      else fixed.set(name, { ...route, ...settingsOf(name) })
      listeners.notify()
    },
    configured: () => [...fixed.values()],
    settings() {
      const put = [...fixed.values()].flatMap(({ name, reliability }) =>
        reliability === undefined ? [] : [[name, reliability] as const],
      )
      return { ...Object.fromEntries(put), ...settings }
    },
    list: () => [...leased.keys()].flatMap(live),
    onChange: (listener) => listeners.add(listener),
  }
}

/**
 * The endpoints of one protocol: a request decided as one protocol must not reach a listener that
 * reads it as another. Of several protocols, always the same one, regardless of the order of
 * renewal.
 */
export function ofOneProtocol<T extends { readonly protocol: RouteProtocol }>(
  endpoints: readonly T[],
): { readonly protocol: RouteProtocol; readonly endpoints: readonly T[] } | null {
  const [protocol] = endpoints.map((endpoint) => endpoint.protocol).toSorted()
  if (protocol === undefined) return null
  return { protocol, endpoints: endpoints.filter((endpoint) => endpoint.protocol === protocol) }
}

/** Returns these endpoints as connectors would see them, regardless of the order of renewal. */
function pictureOf(endpoints: readonly RegisteredEndpoint[]): string {
  return endpoints
    .map(({ url, protocol }) => `${protocol} ${url}`)
    .toSorted()
    .join('\n')
}
