import type { ConnectionLimits } from '@countersign/protocol/tls'
import type { Identity } from '@countersign/sdk'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { type Connector, openConnector } from '../../packages/fabric/src/compose/connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import type { RouteProtocol } from '../../packages/fabric/src/protocols/reading/route-protocol.ts'
import type { ShiftedClock } from './clock.ts'
import type { Place } from './doors.ts'
import type { Echo } from './echo.ts'
import { policyParser, RECEIVERS } from './policies.ts'

/** One connector next to each agent, opened when it is first needed. */
export interface Connectors {
  of(name: string): Promise<Connector>
  /** One next to `name`, in front of whatever answers at `url`; closed with the rest. */
  exposing(name: string, url: string, protocol?: RouteProtocol): Promise<Connector>
  /** Another one next to `name`, with a clock of its own; closed with the rest. */
  beside(name: string, clock: ShiftedClock): Promise<Connector>
  /** The callee's side: where others reach `to`. */
  place(to: string, path: string): Promise<Place>
  /** The caller's side: where the agent `name` reaches `to` on its own machine, in plain HTTP. */
  loopback(name: string, to: string, path: string): Promise<Place>
  close(): Promise<void>
}

export function openConnectors(around: {
  readonly clock: ShiftedClock
  readonly echo: Echo
  readonly origin: string
  agent(name: string): Promise<Identity>
  readonly responseLimits: Partial<ConnectionLimits>
}): Connectors {
  const opened = new Map<string, Promise<Connector>>()
  const others: Promise<Connector>[] = []
  const connect = async (
    name: string,
    clock: ShiftedClock,
    url: string | null = null,
    protocol?: RouteProtocol,
  ): Promise<Connector> => {
    const { echo, origin } = around
    const identity = await around.agent(name)
    const { trustDomain } = identity
    const isReceiver = Object.hasOwn(RECEIVERS, name)
    return openConnector({
      agent: connectorAgent(identity, clock),
      gateway: { url: origin, spiffeId: `spiffe://${trustDomain}/fabric/gateway` },
      expose: url ?? (isReceiver ? echo.url : null),
      protocol:
        protocol ?? (isReceiver ? RECEIVERS[name as keyof typeof RECEIVERS].protocol : 'auto'),
      listen: { host: '127.0.0.1', port: 0 },
      meshListen: { host: '127.0.0.1', port: 0, advertise: null },
      usedValues: { dir: null, isFirst: true },
      clock,
      responseLimits: around.responseLimits,
      random: systemRandom,
      policyParser,
      log: () => undefined,
    })
  }
  const of = (name: string): Promise<Connector> => {
    const known = opened.get(name)
    if (known !== undefined) return known
    const opening = connect(name, around.clock)
    opened.set(name, opening)
    return opening
  }
  return {
    of,
    exposing(name, url, protocol) {
      const opening = connect(name, around.clock, url, protocol)
      others.push(opening)
      return opening
    },
    beside(name, clock) {
      const opening = connect(name, clock)
      others.push(opening)
      return opening
    },
    async place(to, path) {
      const { meshUrl } = await of(to)
      if (meshUrl === null) throw new Error(`${to} exposes nothing`)
      const { host, port } = new URL(meshUrl)
      return { authority: host, port: Number(port), path }
    },
    async loopback(name, to, path) {
      const { loopbackUrl } = await of(name)
      const { host, port } = new URL(loopbackUrl)
      return { authority: host, port: Number(port), path: `/${to}${path}` }
    },
    async close() {
      for (const connector of await Promise.all([...opened.values(), ...others])) {
        await connector.close()
      }
    },
  }
}
