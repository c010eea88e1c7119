import { expect } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { bodyOf, type Draft, send } from '../harness/doors.ts'
import type { Answering } from '../harness/echo.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

/** More than is inspected on the event loop. */
const filler = 'plain words '.repeat(1_000)
const large = JSON.stringify({ filler })
const tool = (id: number): string =>
  JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'a', arguments: {} } })
const result = JSON.stringify({
  ...{ jsonrpc: '2.0', id: 1 },
  result: { content: [{ type: 'text', text: filler }] },
})

const json =
  (body: string): Answering =>
  (_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(body)

/** All of them at once; each has to come back whole. */
async function expectAll(
  world: World,
  transport: Transport,
  { drafts, answer }: { readonly drafts: readonly Draft[]; readonly answer: string | null },
): Promise<void> {
  const ask = () => Promise.all(drafts.map((draft) => send(world[transport], draft)))
  const heard = await (answer === null ? ask() : world.echo.during(json(answer), ask))
  const outcomes = heard.map(({ status, body }) => `${status} ${body.length}`)
  expect(outcomes).toEqual(
    drafts.map((draft) => `200 ${(answer === null ? bodyOf(draft) : Buffer.from(answer)).length}`),
  )
}

const many = (count: number, draft: (i: number) => Draft): readonly Draft[] =>
  Array.from({ length: count }, (_, i) => draft(i))

const crowded =
  (transport: Transport): Attempt =>
  async (world) => {
    const get: Draft = { method: 'GET', body: null }
    await expectAll(world, transport, { drafts: many(100, () => get), answer: large })
    await expectAll(world, transport, { drafts: many(100, () => ({ body: large })), answer: null })
    const calls = many(60, (i) => ({ to: 'mcp', body: tool(i) }))
    await expectAll(world, transport, { drafts: calls, answer: result })
  }

/**
 * The requests of one caller to a receiver at once do not cost any other caller an answer of it.
 */
const besideAnother =
  (transport: Transport): Attempt =>
  async (world) => {
    const other = await world.agent(newName('modest'), ['caller'])
    const get: Draft = { method: 'GET', body: null }
    const drafts = [...many(90, () => get), ...many(3, () => ({ ...get, as: other.credential() }))]
    await expectAll(world, transport, { drafts, answer: large })
  }

const events = many(40, () => ({})).map(() => `data: ${large}\n\n`)

const inStreams =
  (transport: Transport): Attempt =>
  async (world) => {
    const ends = await world.echo.during(streaming(events), () =>
      Promise.all(
        many(40, () => ({})).map(async (draft) => {
          const stream = await openStream(world[transport], draft)
          const text = await stream.ended()
          stream.close()
          const [code = ''] = /"code":"[A-Z_]+".*"limit":"[^"]*"/.exec(text) ?? []
          return `${text.split('data: ').length - 1} events ${code}`
        }),
      ),
    )
    expect(ends).toEqual(ends.map(() => '40 events '))
  }

const onEach = (transport: Transport): Readonly<Record<string, Attempt>> => ({
  'as answers and as requests': crowded(transport),
  'next to another caller': besideAnother(transport),
  'as events of streams': inStreams(transport),
})

attack(
  verifies(
    ['operate:own-room@gateway', 'operate:own-room@mesh'],
    'many messages at once that are too large for the event loop wait for their turn, and none is lost',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'sealed content is not inspected',
  },
)
