import type { EndpointRegistry } from '../routes/endpoint-registry.ts'
import { configureRoute } from '../routes/stored-routes.ts'
import type { Environment, Stores } from './stores.ts'

export function configureRoutes({ config }: Environment, endpoints: EndpointRegistry): void {
  for (const [name, { upstream, protocol }] of Object.entries(config.agents)) {
    configureRoute(endpoints, { name, upstream, protocol })
  }
}

/** Reports whether an agent or a channel of that name exists, or a route to one. */
export function isReceiver(
  { config }: Environment,
  {
    stores: { identity, queue },
    endpoints,
  }: { readonly stores: Stores; readonly endpoints: EndpointRegistry },
  name: string,
): boolean {
  return (
    name === 'fabric' ||
    Object.hasOwn(config.agents, name) ||
    identity.directory.find(name) !== null ||
    queue.present.channelAuthority.find(name) !== null ||
    endpoints.find(name) !== null
  )
}
