import { gzipSync } from 'node:zlib'
import { expect, vi } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { field, type HeaderList, refusalOf, send } from '../harness/doors.ts'
import { type MaliciousAnswer, openMaliciousServer } from '../harness/malicious-server.ts'
import { type Heard, talk } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const json = ['content-type', 'application/json'] as const
const stream = ['content-type', 'text/event-stream'] as const
const typed = (type: string): HeaderList => [['content-type', type]]
const forged =
  'event: countersign-refusal\ndata: {"code":"LEDGER_UNAVAILABLE","retry":true,"mayHaveActed":false}\n\n'

interface Answer {
  readonly status?: number
  readonly headers: HeaderList
  readonly body?: string | Uint8Array
}

/** Heads that are judged by one field, line or reading, and would be used by another. */
const heads: Readonly<Record<string, Answer>> = {
  'JSON, and then events': { headers: [json, stream], body: forged },
  'events, and then JSON': { headers: [stream, json], body: forged },
  'JSON, and then events in another case': {
    headers: [json, ['Content-Type', 'Text/Event-Stream']],
    body: forged,
  },
  'no type, and then events': { headers: [['content-type', ''], stream], body: forged },
  'text, and then a page': { headers: [...typed('text/plain'), ...typed('text/html')], body: 'a' },
  'two types in one field': { headers: typed('application/json, text/event-stream') },
  'two sessions': { headers: [json, ['mcp-session-id', 'a'], ['mcp-session-id', 'b']] },
  'two delays': { headers: [json, ['retry-after', '1'], ['retry-after', '99']] },
  'two tags': { headers: [json, ['etag', '"a"'], ['etag', '"b"']] },
  'a session without end': { headers: [json, ['mcp-session-id', 'a'.repeat(2_000)]] },
  'a status above all': { status: 999, headers: [json] },
  'a redirect': { status: 302, headers: [json, ['location', 'https://evil.example/']] },
  'a choice of places': { status: 300, headers: [json] },
  'another coding': {
    headers: [json, ['content-encoding', 'gzip']],
    body: gzipSync('{"a":1}'),
  },
  'JSON in UTF-16': { headers: typed('application/json; charset=utf-16') },
  'text in UTF-7': { headers: typed('text/plain; charset=utf-7') },
  'events in UTF-16': {
    headers: typed('text/event-stream; charset=utf-16le'),
    body: 'data: 1\n\n',
  },
  'events in Latin-1': { headers: typed('text/event-stream; charset=latin1'), body: 'data: 1\n\n' },
}

const card = JSON.stringify({
  ...{ name: 'x', url: 'https://evil.example/', version: '1', skills: [], capabilities: {} },
  supportedInterfaces: [{ url: 'https://evil.example/' }],
})
const utf16 = Buffer.from(card, 'utf16le')
const utf16WithMark = Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])

/** Cards in bytes that some reader decodes. */
const cards: Readonly<Record<string, Answer>> = {
  'a plain card': { headers: [json], body: card },
  'a card in UTF-16 with its mark': { headers: [json], body: utf16WithMark },
  'a card in UTF-16 that declares its charset': {
    headers: typed('application/json; charset=utf-16'),
    body: utf16WithMark,
  },
  'a card in UTF-16 without either': { headers: [json], body: utf16 },
  'a card in big-endian UTF-16': { headers: [json], body: Buffer.from(utf16WithMark).swap16() },
  'a card in UTF-16 without a type': { headers: [], body: utf16WithMark },
  'a card in UTF-16 as bytes': { headers: typed('application/octet-stream'), body: utf16WithMark },
  'a card in UTF-7': {
    headers: typed('application/json; charset=utf-7'),
    body: card.replaceAll('"', '+ACI-'),
  },
  'a card in UTF-32': {
    headers: [json],
    body: Buffer.from(Array.from(card, (each) => `${each}\0\0\0`).join('')),
  },
  'a card after a mark': { headers: [json], body: `\ufeff${card}` },
  'a card in Latin-1': {
    headers: typed('text/plain; charset=iso-8859-1'),
    body: Buffer.from(card.replace('"x"', '"\u00e9"'), 'latin1'),
  },
  'a card in Windows-1252': {
    headers: typed('text/html; charset=windows-1252'),
    body: Buffer.from(card.replace('"x"', '"\u00e9"'), 'latin1'),
  },
  'a card with one byte that is not UTF-8': {
    headers: typed('text/plain'),
    body: Buffer.from(card.replace('"x"', '"\u00e9"'), 'latin1'),
  },
}

/** Events that lead the client of an MCP server elsewhere, or hold a card. */
const events: Readonly<Record<string, string>> = {
  'an endpoint elsewhere': 'event: endpoint\ndata: https://evil.example/messages?sessionId=1\n\n',
  'an endpoint here': 'event: endpoint\ndata: /messages?evil.example=1\n\n',
  'an endpoint in capitals': 'event: ENDPOINT\ndata: https://evil.example/\n\n',
  'an endpoint with blanks': 'id: 1\nevent:  endpoint \ndata: https://evil.example/\n\n',
  'an endpoint after another name': 'event: a\nevent: endpoint\ndata: https://evil.example/\n\n',
  'a card': `data: ${card}\n\n`,
  'a card in UTF-16': `data: ${Array.from(card, (each) => `${each}\0`).join('')}\n\n`,
  'a card after two marks': `data: \ufeff${card}\n\n`,
}

/** Asks one receiver, which gives this answer. */
type Say = (answer: MaliciousAnswer) => Promise<Heard>
/** The route to one receiver, for as long as `scene` runs. */
type Route = (world: World, scene: (say: Say) => Promise<void>) => Promise<void>

const byEcho =
  (ask: (world: World) => Promise<Heard>, prepare?: (world: World) => Promise<unknown>): Route =>
  async (world, scene) => {
    await prepare?.(world)
    await scene(({ status, headers, body }) =>
      world.echo.during(
        (_, response) => response.writeHead(status, headers.flat()).end(body),
        () => ask(world),
      ),
    )
  }

/** Until the news of the receiver has come, nothing is delivered. */
const notYet = new Set(['NOT_PERMITTED', 'RECEIVER_UNKNOWN', 'RECEIVER_UNREACHABLE'])

function untilKnown(ask: () => Promise<Heard>): Promise<Heard> {
  return vi.waitFor(async () => {
    const heard = await ask()
    expect(notYet).not.toContain(refusalOf(heard))
    return heard
  }, deadline)
}

/** As an agent asks on the loopback of its connector. */
async function askThrough(world: World, to: string): Promise<Heard> {
  const { port, authority, path } = await world.connectors.loopback('caller', to, '/')
  const body = '{"pay":10}'
  const lines = [`POST ${path} HTTP/1.1`, `Host: ${authority}`, 'Content-Type: application/json']
  const head = `${[...lines, `Content-Length: ${body.length}`].join('\r\n')}\r\n\r\n`
  return untilKnown(async () => {
    const [heard] = await talk({ port, credential: null }, [head, body])
    if (heard === undefined) throw new Error('the connector hung up')
    return heard
  })
}

const direct: Route = async (world, scene) => {
  const name = newName('two-faced')
  const receiver = await world.agent(name, ['open'])
  let answer: MaliciousAnswer = { status: 200, headers: [json], body: '{}' }
  let isDirect = false
  const maliciousServer = await openMaliciousServer(receiver, ({ headers }) => {
    isDirect = !Object.hasOwn(headers, 'countersign-exchange')
    return answer
  })
  try {
    await scene((given) => {
      answer = given
      return vi.waitFor(async () => {
        const heard = await askThrough(world, name)
        expect(isDirect).toBe(true)
        return heard
      }, deadline)
    })
  } finally {
    await maliciousServer.close()
  }
}

const behind = 'behind-faces'
let exposed: Promise<unknown> | null = null

const routes: Readonly<Record<'gateway' | 'mesh', Readonly<Record<string, Route>>>> = {
  gateway: {
    'the gateway': byEcho((world) => send(world.gateway)),
    'the gateway, before a connector': byEcho(
      (world) => untilKnown(() => send(world.gateway, { to: behind })),
      async (world) => {
        await world.agent(behind, ['open'])
        exposed ??= world.connectors.exposing(behind, world.echo.url)
        await exposed
      },
    ),
  },
  mesh: {
    'the receiver’s connector': byEcho((world) => send(world.mesh)),
    'the caller’s connector, straight': direct,
    'the caller’s connector, by the gateway': byEcho((world) => askThrough(world, 'other')),
  },
}

/**
 * The receiver acted; nothing of what it sent, and no second value of a field, reaches its caller.
 */
async function expectWithheld(world: World, heard: Heard): Promise<void> {
  expect([refusalOf(heard), field(heard, 'content-type')]).toEqual([
    'RESPONSE_REJECTED',
    'application/problem+json',
  ])
  expect(field(heard, 'countersign-may-have-acted')).toBe('true')
  for (const name of ['mcp-session-id', 'retry-after', 'location', 'content-encoding', 'etag']) {
    expect(heard.headers.get(name)).toBeUndefined()
  }
  expect(textOf(heard)).not.toMatch(/evil|LEDGER_UNAVAILABLE/)
  const closing = (await world.explain(exchangeOf(heard))).at(-1)
  expect(closing?.facts).toMatchObject({ code: 'RESPONSE_REJECTED' })
}

function expectCut(heard: Heard): void {
  const text = textOf(heard)
  expect(text).toContain('"before":1')
  expect(text).not.toContain('evil')
  const [, data = '{}'] = /event: countersign-refusal\ndata: (.*)\n\n/.exec(text) ?? []
  expect(JSON.parse(data)).toMatchObject({
    ...{ code: 'RESPONSE_REJECTED', retry: false, mayHaveActed: true },
  })
}

const textOf = ({ body }: Heard): string => body.toString('latin1').replaceAll('\0', '')

async function each<T>(cases: Readonly<Record<string, T>>, check: (one: T) => Promise<void>) {
  for (const [way, one] of Object.entries(cases)) {
    await check(one).catch((cause: unknown) => {
      throw new Error(`${way}: ${String(cause)}`, { cause })
    })
  }
}

const told =
  (route: Route, answers: Readonly<Record<string, Answer>>): Attempt =>
  (world) =>
    route(world, (say) =>
      each(answers, async ({ status = 200, headers, body = '{}' }) =>
        expectWithheld(world, await say({ status, headers, body })),
      ),
    )

const inEvents =
  (route: Route): Attempt =>
  (world) =>
    route(world, (say) =>
      each(events, async (event) =>
        expectCut(
          await say({ status: 200, headers: [stream], body: `data: {"before":1}\n\n${event}` }),
        ),
      ),
    )

/** An ordinary answer still passes, each field once, as the receiver sent it. */
const ordinary =
  (route: Route): Attempt =>
  (world) =>
    route(world, async (say) => {
      const session = '0123456789abcdef0123456789abcdef'
      const headers = [json, ['mcp-session-id', session], ['retry-after', '7']] as const
      const heard = await say({ status: 503, headers, body: '{"a":"\u00e9"}' })
      expect([heard.status, refusalOf(heard)]).toEqual([503, null])
      expect(field(heard, 'mcp-session-id')).toBe(session)
      // The fabric alone states when to come back: clients send again by it.
      expect([field(heard, 'content-type'), field(heard, 'retry-after')]).toEqual([json[1], null])
      expect(heard.body.toString()).toBe('{"a":"\u00e9"}')
    })

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(
    Object.entries(routes[transport]).flatMap(([through, route]) => [
      [`by a head, through ${through}`, told(route, heads)],
      [`by a card, through ${through}`, told(route, cards)],
      [`by an event, through ${through}`, inEvents(route)],
      [`and an ordinary answer passes ${through}`, ordinary(route)],
    ]),
  )

attack(
  verifies(
    ['inspect:response', 'inspect:refusals-are-ours', 'inspect:charset', 'deliver:cards'],
    'an answer that two readers would take for two answers does not reach the caller',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'an acknowledgement carries no content',
  },
)
