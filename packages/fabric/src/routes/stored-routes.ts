import type { RouteProtocol } from '../protocols/reading/route-protocol.ts'
import type { StateStore } from '../state/state-store.ts'
import type { EndpointRegistry } from './endpoint-registry.ts'

/** The state store, as far as routes are kept in it. */
export type RouteState = Pick<StateStore, 'read' | 'commit'>

/** A route as an operator sees it. */
export interface ListedRoute {
  readonly name: string
  readonly urls: readonly string[]
  readonly protocol: RouteProtocol
  readonly source: 'configured' | 'registered'
}

/** The routes that an operator makes on the running fabric. */
export interface StoredRoutes {
  /** The routes of earlier processes; one that is configured already wins over them. */
  restore(): Promise<void>
  list(): readonly ListedRoute[]
  /** Durable when it resolves. */
  put(name: string, upstream: string, protocol: RouteProtocol): Promise<void>
  /** Resolves to false if there was no such route. */
  remove(name: string): Promise<boolean>
}

export function createStoredRoutes(state: RouteState, registry: EndpointRegistry): StoredRoutes {
  const isConfigured = (name: string) => registry.configured().some((route) => route.name === name)
  const commit = (name: string, value: string | null) =>
    state.commit([{ table: 'routes', key: name, value }])
  return {
    async restore() {
      for (const { table, key: name, value } of (await state.read()).rows) {
        if (table !== 'routes' || isConfigured(name)) continue
        const { upstream, protocol } = JSON.parse(value) as StoredRoute
        configureRoute(registry, { name, upstream, protocol })
      }
    },
    list: () => [...registry.configured().map(ofConfigured), ...registry.list().map(ofRegistered)],
    async put(name, upstream, protocol) {
      await commit(name, JSON.stringify({ upstream, protocol } satisfies StoredRoute))
      configureRoute(registry, { name, upstream, protocol })
    },
    async remove(name) {
      const known = isConfigured(name)
      await commit(name, null)
      registry.configure(name, null)
      return known
    },
  }
}

interface StoredRoute {
  readonly upstream: string
  readonly protocol: RouteProtocol
}

/** An upstream of the operator proves no SPIFFE ID. */
export function configureRoute(
  registry: Pick<EndpointRegistry, 'configure'>,
  { name, upstream, protocol }: StoredRoute & { readonly name: string },
): void {
  registry.configure(name, { name, protocol, endpoints: [{ url: upstream, spiffeId: null }] })
}

function ofConfigured({
  name,
  protocol,
  endpoints,
}: ReturnType<EndpointRegistry['configured']>[number]): ListedRoute {
  return { name, protocol, urls: endpoints.map(({ url }) => url), source: 'configured' }
}

function ofRegistered({
  name,
  protocol,
  url,
}: ReturnType<EndpointRegistry['list']>[number]): ListedRoute {
  return { name, protocol, urls: [url], source: 'registered' }
}
