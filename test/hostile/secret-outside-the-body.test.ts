import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const card = '4111111111111111'
const paths = {
  'in the query': { path: `/pay?card=${card}` },
  'in the query, with pluses': { path: '/pay?card=4111+1111+1111+1111' },
  'in the query, percent-encoded': { path: '/pay?card=%34%31%31%31111111111111' },
  'in the path': { path: `/cards/${card}` },
  'in the path of a GET': { path: `/cards/${card}`, method: 'GET', body: null },
}
const refused = eachRefusedOnBoth('CONTENT_BLOCKED', {
  ...Object.fromEntries(
    Object.entries(paths).map(([way, each]) => [way, { to: 'masked', ...each }]),
  ),
  'in the media type': { to: 'masked', contentType: `text/x${card}`, body: 'hi' },
  'in the media type of JSON': { to: 'masked', contentType: `application/vnd.${card}+json` },
  'in the media type, where policy blocks': { to: 'blocked', contentType: `text/x${card}` },
  'by its name in the query': { to: 'masked', path: '/pay?api_key=hunter2hunter2' },
  'with a policy that blocks': { to: 'blocked', path: `/pay?card=${card}` },
})

const names = ['Idempotency-Key', 'X-Request-Id', 'User-Agent', 'Prefer']
const plain = names.map((name) => [name, card] as const)
const params = { name: 'pay', arguments: {} }
/** Arguments are mirrored in fields with MCP calls only; elsewhere such a field is refused. */
const drafts: readonly Draft[] = [
  { headers: plain },
  {
    headers: [...plain, ['Mcp-Param-Card', card]],
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }),
  },
]

const inFields =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const draft of drafts) await expectNoCard(world, { ...draft, to: 'masked' }, transport)
  }

async function expectNoCard(
  world: World,
  draft: Draft,
  transport: 'gateway' | 'mesh',
): Promise<void> {
  const heard = await world.echo.during(answering({}, { etag: card, vary: 'accept' }), () =>
    send(world[transport], draft),
  )
  expect(heard.status).toBe(200)
  expect(world.echo.reached.at(-1)?.rawHeaders.join('\n')).not.toContain(card)
  expect([...heard.headers].flat(2).join('\n')).not.toContain(card)
  expect(heard.headers.get('vary')).toEqual(['accept'])
}

attack(
  verifies(
    ['inspect:mask', 'inspect:block', 'inspect:response'],
    'a secret outside of the body does not pass',
  ),
  {
    gateway: { ...refused.gateway, 'in fields, both ways': inFields('gateway') },
    mesh: { ...refused.mesh, 'in fields, both ways': inFields('mesh') },
    queue: 'the sender masks before it seals',
  },
)
