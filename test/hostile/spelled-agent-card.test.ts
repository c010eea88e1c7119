import { expect } from 'vitest'
import { refusalOf, send } from '../harness/doors.ts'
import { lie, type Telling } from '../harness/lie.ts'
import { eachRefusedOnBoth, expectAnswerRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const card = {
  name: 'echo',
  url: 'http://127.0.0.1:9/',
  version: '1',
  capabilities: {},
  skills: [{ id: 'a', name: 'a', description: 'a', tags: [] }],
}
const cardOfToday = {
  ...{ name: 'echo', version: '1', capabilities: {}, skills: [] },
  supportedInterfaces: [{ url: 'http://127.0.0.1:9/', protocolBinding: 'JSONRPC' }],
}

const spellings = [
  '/.well-known/agent%2dcard.json',
  '/.well-known/agent-card.json;x=1',
  '/.well-known;x=1/agent-card.json',
  '/.well-known/Agent-Card.json',
  '/.WELL-KNOWN/agent-card.json',
  '/.well-known/agent-card.json/',
  '/.well-known/agent-card.js%6Fn',
  '/.well-known/agent-card.json;a=1;b=2',
  '/.well%2dknown/agent.json',
  '/.well-known/agent.json;jsessionid=1',
  '/.well-known/agent-card.json%20',
  '/deep/.Well-Known/agent.json',
]

const drafts = Object.fromEntries(
  spellings.map((path) => [`at ${path}`, { path, body: null, method: 'GET' }]),
)
const asSpelled = eachRefusedOnBoth('MESSAGE_MALFORMED', drafts)
const byMethod = eachRefusedOnBoth('OPERATION_UNKNOWN', {
  'by POST': { path: '/.well-known/agent-card.json' },
})

/** A receiver serves its card wherever it likes; the answer gives it away. */
const answers: Readonly<Record<string, readonly [type: string, body: string]>> = {
  'as JSON': ['application/json', JSON.stringify(card)],
  'of 1.0': ['application/json', JSON.stringify(cardOfToday)],
  'as text': ['text/plain', JSON.stringify(card)],
  'with lax JSON': ['text/plain', `)]}'\n${JSON.stringify(card)}`],
  'with escaped names': ['application/json', JSON.stringify(card).replaceAll('"s', '"\\u0073')],
  'with other cases': ['application/json', JSON.stringify(card).replace('skills', 'Skills')],
  'as the result of a call': ['application/json', JSON.stringify({ id: 1, result: card })],
  'as a member': ['application/json', JSON.stringify({ agentCard: card })],
  'in a list': ['application/json', JSON.stringify([card])],
}

const answered =
  (transport: 'gateway' | 'mesh', type: string, body: string): Telling =>
  (world) =>
    expectAnswerRefused(world, transport, {
      code: 'RESPONSE_REJECTED',
      tell: () =>
        world.echo.during(
          (_, response) => response.writeHead(200, { 'content-type': type }).end(body),
          () => send(world[transport], { path: '/about', method: 'GET', body: null }),
        ),
    })

const read =
  (transport: 'gateway' | 'mesh'): Telling =>
  async (world) => {
    for (const path of ['/.well-known/agent-card.json', '/deep/.well-known/agent.json?a=1']) {
      const heard = await world.echo.during(
        (_, response) =>
          response.writeHead(200, { 'content-type': 'text/plain; x=1' }).end(JSON.stringify(card)),
        () => send(world[transport], { path, method: 'GET', body: null }),
      )
      expect(refusalOf(heard)).toBeNull()
      expect(heard.headers.get('content-type')).toEqual(['application/json'])
      expect(heard.body.toString()).toContain('"signatures"')
      expect(heard.body.toString()).not.toContain('127.0.0.1:9')
    }
  }

const onEach = (transport: 'gateway' | 'mesh') => ({
  ...asSpelled[transport],
  ...byMethod[transport],
  ...Object.fromEntries(
    Object.entries(answers).map(([way, [type, body]]) => [
      `answered ${way}`,
      answered(transport, type, body),
    ]),
  ),
  'and the card itself is mediated': read(transport),
})

lie(
  verifies(
    ['authorize:operation', 'deliver:cards'],
    'an agent card reaches no caller with addresses that lead past the fabric',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'agents on a channel publish no card',
  },
)
