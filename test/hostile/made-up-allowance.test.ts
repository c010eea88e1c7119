import { expect, vi } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { agentId, field, send } from '../harness/doors.ts'
import { openMaliciousServer } from '../harness/malicious-server.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/**
 * Fields that the fabric makes or checks: an allowance, a time to keep a response or to wait, a
 * digest.
 */
const made: readonly (readonly [string, string])[] = [
  ['ratelimit', '"agent-route";r=0;t=86400'],
  ['ratelimit-policy', 'ssn 078-05-1120, card 4111 1111 1111 1111'],
  ['cache-control', 'public, max-age=31536000'],
  ['retry-after', '86400'],
  // Of another body than this one.
  ['content-digest', `sha-256=:${Buffer.alloc(32).toString('base64')}:`],
  ['countersign-limit', 'limits.bodyBytes, 4 MiB'],
  ['countersign-may-have-acted', 'false'],
  ['countersign-stated-by', agentId('caller')],
  ['countersign-withdrawal', 'credential-expired'],
]
const json = ['content-type', 'application/json'] as const
const honest = [
  ['etag', '"e"'],
  ['vary', 'accept'],
  ['allow', 'POST'],
  ['content-language', 'de'],
] as const

/**
 * Returns the part of these fields that a caller receives; with `isStraight`, once the gateway has
 * dropped out of the path.
 */
async function answered(
  world: World,
  ask: (name: string) => Promise<Map<string, string | null>>,
  isStraight: boolean,
): Promise<Map<string, string | null>> {
  const name = newName('allows')
  let isForwarded = true
  const maliciousServer = await openMaliciousServer(
    await world.agent(name, ['open']),
    ({ headers }) => {
      isForwarded = Object.hasOwn(headers, 'countersign-exchange')
      return { status: 200, headers: [json, ...made, ...honest], body: '{}' }
    },
  )
  try {
    let fields = new Map<string, string | null>()
    await vi.waitFor(async () => {
      fields = await ask(name)
      expect(isForwarded).toBe(!isStraight)
    }, deadline)
    return fields
  } finally {
    await maliciousServer.close()
  }
}

const names = [...made, ...honest].map(([name]) => name)

function expectOwn(fields: Map<string, string | null>): void {
  for (const [name, value] of made) expect([name, fields.get(name)]).not.toEqual([name, value])
  for (const [name, value] of honest) expect([name, fields.get(name)]).toEqual([name, value])
}

const byGateway: Attempt = async (world) => {
  const ask = async (to: string) => {
    const heard = await send(world.gateway, { to })
    return new Map(names.map((name) => [name, field(heard, name)]))
  }
  const fields = await answered(world, ask, false)
  expectOwn(fields)
  // An allowance of the fabric's own.
  expect(fields.get('ratelimit')).toMatch(/^"agent-route";r=\d+;t=\d+$/)
}

/** Without a gateway between them, nothing was inspected on the way to the caller's connector. */
const straight: Attempt = async (world) => {
  const ask = async (to: string) => {
    const { port, path } = await world.connectors.loopback('caller', to, '/')
    const heard = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: '{}' })
    await heard.text()
    return new Map(names.map((name) => [name, heard.headers.get(name)]))
  }
  const fields = await answered(world, ask, true)
  expectOwn(fields)
  for (const [name] of made) expect([name, fields.get(name)]).toEqual([name, null])
}

attack(
  verifies(
    ['inspect:response', 'inspect:refusals-are-ours'],
    'a statement of the fabric on an allowance, a limit, a time or a body never comes from a receiver',
  ),
  {
    gateway: byGateway,
    mesh: { 'straight to the connector of its caller': straight },
    queue: 'the fabric is the receiver',
  },
)
