import { connectorAgent } from '../packages/fabric/src/cli/connector-agent.ts'
import { openConnector } from '../packages/fabric/src/compose/connector.ts'
import { systemClock } from '../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../packages/fabric/src/lib/random.ts'
import { openIdentity } from '../packages/sdk/src/index.ts'

export interface ConnectorReady {
  readonly loopbackUrl: string
}

/** A connector next to an agent at `expose`, or next to one that only calls. */
const [dir = '', join = '', trustDomain = '', expose = ''] = process.argv.slice(2)
const onFault = (): void => undefined
const identity = await openIdentity({ join, dir, clock: systemClock, onFault })
const connector = await openConnector({
  agent: connectorAgent(identity, systemClock),
  gateway: { url: identity.url, spiffeId: `spiffe://${trustDomain}/fabric/gateway` },
  expose: expose === '' ? null : expose,
  protocol: 'a2a',
  listen: { host: '127.0.0.1', port: 0 },
  meshListen: { host: '127.0.0.1', port: 0, advertise: null },
  usedValues: { dir: null, isFirst: true },
  clock: systemClock,
  random: systemRandom,
  log: () => undefined,
})
process.on('SIGTERM', () => {
  void connector.close().finally(() => process.exit(0))
})
process.send?.({ loopbackUrl: connector.loopbackUrl } satisfies ConnectorReady)
