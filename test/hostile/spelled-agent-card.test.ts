import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { refusalOf, send } from '../harness/doors.ts'
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
  '/.well-known/agent-card.json%3F',
  '/.well-known/agent-card.json%23x',
  '/.well-known/agent-card',
  '/.well-known/agent-card.xml',
  '/.well-known/agent-card.json.json',
  '/.well-known/agent-card.json/x',
  '/a/b/c/d/.well-known/agent.yaml',
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
  'without skills': ['application/json', JSON.stringify({ ...card, skills: undefined })],
  'without capabilities': [
    'application/json',
    JSON.stringify({ ...card, capabilities: undefined }),
  ],
  'of 1.0 without skills': [
    'application/json',
    JSON.stringify({ name: 'echo', supportedInterfaces: cardOfToday.supportedInterfaces }),
  ],
  'of 0.3 with further interfaces alone': [
    'application/json',
    JSON.stringify({ additionalInterfaces: [{ url: card.url, transport: 'JSONRPC' }] }),
  ],
  'with modes instead of skills': [
    'application/json',
    JSON.stringify({ url: card.url, defaultInputModes: ['text'], defaultOutputModes: ['text'] }),
  ],
  'with names in capitals, large': [
    'application/json',
    JSON.stringify({ pad: 'x'.repeat(70_000), ...card }).replaceAll(
      /"(?:url|skills|capab\w+)"/g,
      (name) => name.toUpperCase(),
    ),
  ],
  'with names in snake case': [
    'application/json',
    JSON.stringify({ supported_interfaces: cardOfToday.supportedInterfaces }),
  ],
  'with an escape in each name': ['application/json', escapedNames(card)],
  'as a string of JSON': ['application/json', JSON.stringify(JSON.stringify(card))],
  'as a string of a string of JSON': [
    'text/plain',
    JSON.stringify(JSON.stringify(JSON.stringify(card))),
  ],
  'with NaN and many blanks': [
    'text/plain',
    `${lax(card).replaceAll('":', `"${' '.repeat(40)}:`)}`,
  ],
  'with NaN and comments': ['text/plain', lax(card).replaceAll('":', '"/* : */:')],
  'with NaN, of 1.0': ['text/plain', lax(cardOfToday)],
  'with NaN and escapes of JSON5': ['text/plain', lax(card).replaceAll('sk', '\\x73k')],
  'with NaN and backslashes that mean nothing': [
    'text/plain',
    lax(card).replace('skills', 's\\kills').replace('capabilities', 'ca\\pabilities'),
  ],
  'with single quotes': ['text/plain', JSON.stringify(card).replaceAll('"', "'")],
  'as YAML': ['text/yaml', 'url: http://127.0.0.1:9/\nskills: []\ncapabilities: {}\n'],
  'as one of several lines': ['text/plain', `{}\n${JSON.stringify(card)}\n`],
  ...Object.fromEntries(
    [
      ...[
        '\u017fupportedInterface\u017f',
        '\uff53upportedInter\uff46aces',
        'supported-interf-aces',
      ],
      ...['supportedInterf\u200baces', 'supported_interf_aces', 'SUPPORTEDINTER\nFACES'],
    ].map((name) => [
      `with interfaces as ${JSON.stringify(name)}`,
      ['application/json', JSON.stringify({ [name]: cardOfToday.supportedInterfaces })],
    ]),
  ),
  ...Object.fromEntries(
    ['s\u212aills', 'sk_ills', 'ski\u00adlls', '\uff53kills', 'sk\nills'].map((name) => [
      `with skills as ${JSON.stringify(name)}`,
      ['application/json', JSON.stringify({ url: card.url, version: '1', [name]: [] })],
    ]),
  ),
  'as text with other letters': [
    'text/plain',
    `{'url':'${card.url}','s\u212aills':[],'\uff43apabilities':{},}`,
  ],
  'as a form': [
    'application/x-www-form-urlencoded',
    'url=http%3A%2F%2F127.0.0.1:9&s%6bills=x&c%61pabilities=y',
  ],
  'with entities': ['text/html', `<p>{"url":"${card.url}","s&#107;ills":[],"c&#97;pabilities":{}}`],
  'with literals side by side': [
    'text/plain',
    `{'url':'${card.url}','sk' b'ills':[],'ca' # x\n 'pabilities':{}}`,
  ],
  'as XML': ['text/xml', `<card><url>${card.url}</url><skills/><capabilities/></card>`],
  'as XML with sections inside': [
    'text/xml',
    `<card><url a="1">${card.url}</url><sk<?x?>ills/><capabilities/></card>`,
  ],
  'as EDN': ['text/plain', `{:url "${card.url}" :skills [] :capabilities {}}`],
  'with equals signs': [
    'text/plain',
    '{url = "http://127.0.0.1:9/"; skills => []; capabilities = {}}',
  ],
}

/** As Python reads JSON. */
function lax(value: unknown): string {
  return JSON.stringify(value).replace('"1"', 'NaN')
}

function escapedNames(value: object): string {
  return JSON.stringify(value).replaceAll(
    /"(\w)(\w+)":/g,
    (_, first: string, rest: string) => `"\\u00${first.charCodeAt(0).toString(16)}${rest}":`,
  )
}

const answered =
  (transport: 'gateway' | 'mesh', type: string, body: string): Attempt =>
  (world) =>
    expectAnswerRefused(world, transport, {
      code: 'RESPONSE_REJECTED',
      attempt: () =>
        world.echo.during(
          (_, response) => response.writeHead(200, { 'content-type': type }).end(body),
          () => send(world[transport], { path: '/about', method: 'GET', body: null }),
        ),
    })

const inEvent =
  (transport: 'gateway' | 'mesh', body: string): Attempt =>
  async (world) => {
    const heard = await world.echo.during(
      (_, response) =>
        response
          .writeHead(200, { 'content-type': 'text/event-stream' })
          .end(`data: before\n\ndata: ${body}\n\n`),
      () => {
        const headers = [['Accept', 'text/event-stream']] as const
        return send(world[transport], { path: '/about', method: 'GET', body: null, headers })
      },
    )
    const text = heard.body.toString()
    expect(text).toContain('before')
    expect(text).not.toContain('127.0.0.1:9')
  }

/** Documents about the same things, or with some of the members. */
const harmless: readonly string[] = [
  '{"name":"Ann","url":"https://ann.example","skills":["cooking"]}',
  '{"url":"https://a.example","version":"1","description":"capabilities and skills"}',
  '{"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"a"}}}',
  'Our skills and capabilities: see https://a.example, url: none.',
  '<script>const a = { url: "x", version: "1", capabilities: [] }</script>',
]

const harmlessPass =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const body of harmless) {
      const type = body.startsWith('{') ? 'application/json' : 'text/plain'
      const heard = await world.echo.during(
        (_, response) => response.writeHead(200, { 'content-type': type }).end(body),
        () => send(world[transport], { path: '/about', method: 'GET', body: null }),
      )
      expect({ body, refusal: refusalOf(heard) }).toEqual({ body, refusal: null })
    }
  }

const read =
  (transport: 'gateway' | 'mesh'): Attempt =>
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
  'in an event': inEvent(transport, JSON.stringify(card)),
  'in an event, with blanks': inEvent(
    transport,
    lax(card).replaceAll('":', '"                  :'),
  ),
  'and the card itself is mediated': read(transport),
  'and documents that are none pass': harmlessPass(transport),
})

attack(
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
