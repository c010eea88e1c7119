import type { EndpointRegistry } from '../routes/endpoint-registry.ts'
import { routePrefix } from './admin.ts'
import type { Environment, Stores } from './stores.ts'

export function configureRoutes({ config }: Environment, endpoints: EndpointRegistry): void {
  for (const [name, { upstream, protocol }] of Object.entries(config.agents)) {
    endpoints.configure(name, { name, protocol, endpoints: [{ url: upstream, spiffeId: null }] })
  }
}

/** Routes that an operator made on the running fabric; the configuration file wins over them. */
export async function restoreRoutes({ state }: Stores, endpoints: EndpointRegistry): Promise<void> {
  for (const { key, value } of await state.load('settings')) {
    if (!key.startsWith(routePrefix)) continue
    const name = key.slice(routePrefix.length)
    if (endpoints.configured().some((route) => route.name === name)) continue
    const { upstream, protocol } = JSON.parse(value) as { upstream: string; protocol: 'auto' }
    endpoints.configure(name, { name, protocol, endpoints: [{ url: upstream, spiffeId: null }] })
  }
}

/** Reports whether an agent or a channel of that name exists, or a route to one. */
export function isReceiver(
  { config }: Environment,
  {
    stores: { identity, channelAuthority },
    endpoints,
  }: { readonly stores: Stores; readonly endpoints: EndpointRegistry },
  name: string,
): boolean {
  return (
    name === 'fabric' ||
    Object.hasOwn(config.agents, name) ||
    identity.directory.find(name) !== null ||
    channelAuthority.find(name) !== null ||
    endpoints.find(name) !== null
  )
}
