import type { PeerTrust } from '@countersign/protocol/tls'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import {
  type Connector,
  type ConnectorOptions,
  openConnector,
} from '../../packages/fabric/src/compose/connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import type { ConnectorAgent } from '../../packages/fabric/src/transports/mesh/connector-agent.ts'
import type { Door } from './doors.ts'
import { policyParser } from './policies.ts'
import type { World } from './world.ts'

export type FabricRequest = ConnectorAgent['request']

export interface OwnConnector {
  readonly connector: Connector
  /** The connector, past the gateway. */
  readonly direct: Door
}

/**
 * A connector next to `name`, in front of the world's receiver, whose requests to the fabric
 * `change` carries.
 */
export async function withOwnConnector(
  world: World,
  {
    name,
    change = (honest) => honest,
    trust = (honest) => honest,
    usedValues = { dir: null, isFirst: true },
  }: {
    readonly name: string
    readonly change?: (honest: FabricRequest) => FabricRequest
    /** By what it judges the certificates of others. */
    readonly trust?: (honest: PeerTrust) => PeerTrust
    readonly usedValues?: ConnectorOptions['usedValues']
  },
  scene: (own: OwnConnector) => Promise<void>,
): Promise<void> {
  const honest = connectorAgent(await world.agent(name, ['open', 'caller']), world.clock)
  const connector = await openConnector({
    agent: { ...honest, trust: trust(honest.trust), request: change(honest.request) },
    gateway: {
      url: world.fabric.origin,
      spiffeId: `spiffe://${world.caller.trustDomain}/fabric/gateway`,
    },
    ...{ expose: world.echo.url, protocol: 'auto', clock: world.clock, random: systemRandom },
    listen: { host: '127.0.0.1', port: 0 },
    meshListen: { host: '127.0.0.1', port: 0, advertise: null },
    usedValues,
    ...{ policyParser, log: () => undefined },
  })
  const { host, port } = new URL(connector.meshUrl ?? '')
  const direct: Door = {
    ...world.mesh,
    place: (_, path) => Promise.resolve({ authority: host, port: Number(port), path }),
  }
  try {
    await scene({ connector, direct })
  } finally {
    await connector.close()
  }
}
