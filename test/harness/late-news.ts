import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { openConnector } from '../../packages/fabric/src/compose-connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import type { Door } from './doors.ts'
import { policyParser } from './policies.ts'
import type { World } from './world.ts'

export interface Late {
  /** The connector, past the gateway. */
  readonly direct: Door
  /** Withholds news of the fabric from now on. */
  cut(): void
  /** Lets through what was withheld. */
  tell(): void
}

/** A connector beside `name` to which news of the fabric come only when the test says so. */
export async function withLateNews(
  world: World,
  name: string,
  scene: (late: Late) => Promise<void>,
): Promise<void> {
  const honest = connectorAgent(await world.agent(name, ['open']), world.clock)
  let told = Promise.withResolvers<void>()
  told.resolve()
  const request: typeof honest.request = async (order) => {
    const answer = await honest.request(order)
    if (order.path.startsWith('/v1/mesh/state')) await told.promise
    return answer
  }
  const connector = await openConnector({
    agent: { ...honest, request },
    gateway: {
      url: world.fabric.origin,
      spiffeId: `spiffe://${world.caller.trustDomain}/fabric/gateway`,
    },
    ...{ expose: world.echo.url, protocol: 'auto', clock: world.clock, random: systemRandom },
    listen: { host: '127.0.0.1', port: 0 },
    meshListen: { host: '127.0.0.1', port: 0, advertise: null },
    ...{ policyParser, log: () => undefined },
  })
  const { host, port } = new URL(connector.meshUrl ?? '')
  const direct: Door = {
    ...world.mesh,
    place: (_, path) => Promise.resolve({ authority: host, port: Number(port), path }),
  }
  try {
    await scene({
      direct,
      cut: () => {
        told = Promise.withResolvers()
      },
      tell: () => told.resolve(),
    })
  } finally {
    told.resolve()
    await connector.close()
  }
}
