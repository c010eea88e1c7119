import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { type Connector, openConnector } from '../../packages/fabric/src/compose/connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { openWorld, type World } from '../harness/world.ts'
import { openEverythingServer } from './everything-server.ts'

const run = promisify(execFile)
const suite = resolve(
  import.meta.dirname,
  '../../node_modules/@modelcontextprotocol/conformance/dist/index.js',
)

const POLICY = `
@id("conformance")
permit(principal == Agent::"examiner", action == Action::"call", resource in Role::"examined");
`

let world: World
let everything: Awaited<ReturnType<typeof openEverythingServer>>
let examiner: Connector
const connectors: Connector[] = []

async function connect(name: string, expose: string | null, roles: string[]): Promise<Connector> {
  const identity = await world.agent(name, roles)
  const here = { host: '127.0.0.1', port: 0 }
  const connector = await openConnector({
    agent: connectorAgent(identity, world.clock),
    gateway: {
      url: world.fabric.origin,
      spiffeId: `spiffe://${identity.trustDomain}/fabric/gateway`,
    },
    ...{ expose, protocol: 'mcp', listen: here, meshListen: { ...here, advertise: null } },
    ...{ clock: world.clock, random: systemRandom, log: () => undefined },
    usedValues: { dir: null, isFirst: true },
  })
  connectors.push(connector)
  return connector
}

/**
 * A connector's loopback address takes nothing that a browser sends, not even from a page of that
 * same address, which could only be an agent's (`test/hostile/cross-site-page.test.ts`). The suite
 * wants it taken.
 */
const otherwise = 'dns-rebinding-protection'

/** Returns the suite's result of each scenario, such as `4 passed, 0 failed`. */
async function examine(url: string): Promise<Readonly<Record<string, string>>> {
  const order = [suite, 'server', '--url', url, '--suite', 'all']
  const { stdout } = await run(process.execPath, order, { maxBuffer: 64 * 1024 * 1024 }).catch(
    // It ends with 1 when a scenario failed, and names it.
    (failed: { readonly stdout: string }) => failed,
  )
  const summary = stdout.slice(stdout.indexOf('=== SUMMARY ==='))
  const lines = [
    ...summary.matchAll(/^[✓✗] (?<scenario>[a-z0-9-]+): (?<said>\d+ passed, \d+ failed)$/gm),
  ]
  return Object.fromEntries(
    lines
      .map(({ groups }) => [groups?.['scenario'] ?? '', groups?.['said'] ?? ''] as const)
      .filter(([scenario]) => scenario !== otherwise),
  )
}

beforeAll(async () => {
  world = await openWorld()
  everything = await openEverythingServer()
  await world.admin('policy.put', { name: 'conformance.cedar', text: POLICY })
  await connect('meshed', new URL(everything.url).origin, ['examined'])
  // It has no connector, so it is called by the gateway.
  await world.agent('routed', ['examined'])
  const upstream = new URL(everything.url).origin
  await world.admin('route.put', { name: 'routed', upstream, protocol: 'mcp' })
  examiner = await connect('examiner', null, [])
})

afterAll(async () => {
  for (const connector of connectors) await connector.close()
  everything.close()
  await world.close()
})

describe('the conformance suite of MCP', () => {
  test('finds a server behind the fabric as good as without it', async () => {
    const alone = await examine(everything.url)
    expect(Object.keys(alone).length).toBeGreaterThan(30)
    expect(Object.values(alone).filter((said) => !said.endsWith(' 0 failed'))).toEqual([])
    expect(await examine(`${examiner.loopbackUrl}/meshed/mcp`)).toEqual(alone)
    expect(await examine(`${examiner.loopbackUrl}/routed/mcp`)).toEqual(alone)
  })
})
