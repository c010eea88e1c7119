import {
  isAssignableName,
  isRouteSettings,
  parseRouteSettings,
  ROUTE_DEFAULTS,
  type RouteReliability,
  type RouteSettings,
} from '@countersign/protocol'
import { z } from 'zod'
import type { RouteProtocol } from '../protocols/reading/route-protocol.ts'
import type { StateStream } from '../state/state-stream.ts'
import type { EndpointRegistry } from './endpoint-registry.ts'

/** A route as an operator sees it. */
export interface ListedRoute {
  readonly name: string
  readonly urls: readonly string[]
  readonly protocol: RouteProtocol
  readonly source: 'configured' | 'registered'
  /** Those in force, of the operator's file or of the route itself. */
  readonly settings: RouteReliability
}

/** The routes that an operator makes on the running fabric, in whichever process. */
export interface StoredRoutes {
  list(): readonly ListedRoute[]
  /** In effect, and durable, when it resolves. */
  put(name: string, upstream: string, route: Omit<StoredRoute, 'upstream'>): Promise<void>
  /** Resolves to false if there was no such route. */
  remove(name: string): Promise<boolean>
}

interface StoredRoute {
  readonly upstream: string
  readonly protocol: RouteProtocol
  readonly settings?: RouteSettings | undefined
}

const routeSchema = z.strictObject({
  upstream: z.string(),
  protocol: z.enum(['a2a', 'mcp', 'http', 'auto']),
  settings: z.custom<RouteSettings>(isRouteSettings).optional(),
})

/**
 * Keeps `registry` as the state has it. At the start, a route that is configured already wins over
 * a stored one; from then on, the last decision of an operator counts.
 */
export function createStoredRoutes(
  stream: Pick<StateStream, 'project' | 'commit'>,
  registry: EndpointRegistry,
): StoredRoutes {
  const routes = stream.project<StoredRoute>({
    table: 'routes',
    parse: parseRoute,
    format: ({ upstream, protocol, settings }) => JSON.stringify({ upstream, protocol, settings }),
  })
  const isConfigured = (name: string) => registry.configured().some((route) => route.name === name)
  const follow = (name: string, route: StoredRoute | null): void => {
    if (route === null) registry.configure(name, null)
    else configureRoute(registry, { name, ...route })
  }
  for (const [name, route] of routes.entries()) {
    if (!isConfigured(name)) follow(name, route)
  }
  routes.onChange((changes) => {
    for (const { key, after } of changes) follow(key, after)
  })
  return {
    list() {
      const own = new Map(Object.entries(registry.settings()))
      return [...registry.configured().map(ofConfigured), ...registry.list().map(ofRegistered)].map(
        (route) => ({ ...route, settings: own.get(route.name) ?? ROUTE_DEFAULTS }),
      )
    },
    async put(name, upstream, { protocol, settings }) {
      if (!isAssignableName(name)) throw new TypeError(`${name} is reserved, or not a name`)
      await stream.commit(() => [routes.overwrite(name, { upstream, protocol, settings })])
    },
    remove: (name) =>
      stream.commit(() => {
        const isKnown = isConfigured(name) || routes.find(name) !== null
        return isKnown ? [routes.overwrite(name, null)] : null
      }),
  }
}

function parseRoute(name: string, text: string): StoredRoute {
  if (!isAssignableName(name)) throw new TypeError(`a stored route has the name ${name}`)
  return routeSchema.parse(JSON.parse(text))
}

/** An upstream of the operator proves no SPIFFE ID. */
export function configureRoute(
  registry: Pick<EndpointRegistry, 'configure'>,
  { name, upstream, protocol, settings }: StoredRoute & { readonly name: string },
): void {
  registry.configure(name, {
    ...{ name, protocol, endpoints: [{ url: upstream, spiffeId: null }] },
    ...(settings === undefined ? {} : { reliability: parseRouteSettings(settings) }),
  })
}

function ofConfigured({
  name,
  protocol,
  endpoints,
}: ReturnType<EndpointRegistry['configured']>[number]): Omit<ListedRoute, 'settings'> {
  return { name, protocol, urls: endpoints.map(({ url }) => url), source: 'configured' }
}

function ofRegistered({
  name,
  protocol,
  url,
}: ReturnType<EndpointRegistry['list']>[number]): Omit<ListedRoute, 'settings'> {
  return { name, protocol, urls: [url], source: 'registered' }
}
