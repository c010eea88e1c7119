import { expect } from 'vitest'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { openConnector } from '../../packages/fabric/src/compose/connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { attack } from '../harness/attack.ts'
import { ShiftedClock } from '../harness/clock.ts'
import { bytesOf, field, refusalOf } from '../harness/doors.ts'
import { policyParser } from '../harness/policies.ts'
import { talk } from '../harness/raw-http.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['operate:fail-closed@mesh', 'authorize:attributes@mesh'],
    'a connector that receives nothing new from the fabric decides nothing',
  ),
  {
    gateway: 'the gateway is the fabric',
    mesh: async (world) => {
      const clock = new ShiftedClock()
      const { trustDomain } = world.caller
      const honest = connectorAgent(await world.agent('other'), clock)
      let isCut = false
      // An attacker between the two lets entries pass, and keeps every change from arriving.
      const request: typeof honest.request = (order) =>
        isCut && order.path.startsWith('/v1/mesh/state')
          ? Promise.reject(new Error('cut off'))
          : honest.request(order)
      const connector = await openConnector({
        agent: { ...honest, request },
        gateway: { url: world.fabric.origin, spiffeId: `spiffe://${trustDomain}/fabric/gateway` },
        ...{ expose: world.echo.url, protocol: 'auto', clock, random: systemRandom },
        listen: { host: '127.0.0.1', port: 0 },
        meshListen: { host: '127.0.0.1', port: 0, advertise: null },
        usedValues: { dir: null, isFirst: true },
        policyParser,
        log: () => undefined,
      })
      try {
        const { host, port } = new URL(connector.meshUrl ?? '')
        const place = { authority: host, port: Number(port), path: '/' }
        const credential = world.caller.credential()
        const ask = () => talk({ port: place.port, credential }, bytesOf({}, place))
        expect(await ask()).toMatchObject([{ status: 200 }])
        isCut = true
        clock.advance(91_000)
        const before = world.echo.reached.length
        const [heard] = await ask()
        if (heard === undefined) throw new Error('the connector hung up')
        expect(refusalOf(heard)).toBe('UNDECIDED')
        expect(world.echo.reached.slice(before)).toEqual([])
        const entries = await world.explain(field(heard, 'countersign-exchange') ?? '')
        expect(entries).toMatchObject([{ kind: 'refusal', facts: { code: 'UNDECIDED' } }])
      } finally {
        await connector.close()
      }
    },
    queue: 'the fabric decides on its channels itself',
  },
)
