import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { openStream } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/**
 * The bytes that a receiver sends before it ends the connection, and whether the end is a reset.
 */
interface Answer {
  readonly bytes: string
  readonly resets?: boolean
}

const head = (...lines: readonly string[]) => ['HTTP/1.1 200 OK', ...lines, '', ''].join('\r\n')
const stream = 'Content-Type: text/event-stream'
const json = 'Content-Type: application/json'
const chunked = 'Transfer-Encoding: chunked'
const close = 'Connection: close'
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const event = 'data: {"a":1}\n\n'

const streams: Readonly<Record<string, Answer>> = {
  'chunks without the last one': { bytes: head(stream, chunked) + chunk(event) },
  'chunks without the last one, announced as the last answer': {
    bytes: head(stream, chunked, close) + chunk(event),
  },
  'half a chunk, announced as the last answer': {
    bytes: `${head(stream, chunked, close)}${chunk(event)}40\r\ndata: 1\n\n`,
  },
  'fewer bytes than promised': { bytes: head(stream, 'Content-Length: 99') + event },
  'fewer bytes than promised, announced as the last answer': {
    bytes: head(stream, 'Content-Length: 99', close) + event,
  },
  'a reset in place of the last chunk': {
    bytes: head(stream, chunked, close) + chunk(event),
    resets: true,
  },
  'a reset of what has no length': { bytes: head(stream, close) + event, resets: true },
  'half an event in whole chunks': {
    bytes: `${head(stream, chunked, close)}${chunk(event)}${chunk('data: {"b"')}0\r\n\r\n`,
  },
  'an event without its blank line': {
    bytes: `${head(stream, chunked, close)}${chunk(event)}${chunk('data: {"b":1}\n')}0\r\n\r\n`,
  },
  'half an event before a bare end': { bytes: `${head(stream, close)}${event}data: {"b"` },
}

const wholes: Readonly<Record<string, Answer>> = {
  'chunks without the last one': { bytes: head(json, chunked, close) + chunk('{"a":1}') },
  'fewer bytes than promised': { bytes: `${head(json, 'Content-Length: 9', close)}{"a":1}` },
  'a reset in place of the last chunk': {
    bytes: head(json, chunked, close) + chunk('{"a":1}'),
    resets: true,
  },
}

/** The end of the connection is the only one: as a cut would be, and so on record. */
const bareEnds: Readonly<Record<string, readonly [Answer, 'delivered' | 'completed']>> = {
  'an answer': [{ bytes: `${head(json, close)}{"a":1}` }, 'delivered'],
  'an answer of HTTP/1.0': [
    { bytes: `${head(json).replace('HTTP/1.1', 'HTTP/1.0')}{"a":1}` },
    'delivered',
  ],
  'an answer whose coding has no end': [
    { bytes: `${head(json, 'Transfer-Encoding: identity', close)}{"a":1}` },
    'delivered',
  ],
  'a stream': [{ bytes: head(stream, close) + event }, 'completed'],
}

interface Cut {
  answer: Answer
  readonly doors: Readonly<Record<Path, Door>>
}

type Path = 'gateway' | 'gateway and connector' | 'connector'

const opened = new WeakMap<World, Promise<Cut>>()

function cutIn(world: World): Promise<Cut> {
  const known = opened.get(world) ?? open(world)
  opened.set(world, known)
  return known
}

const well: Answer = { bytes: `${head(json, 'Content-Length: 2', close)}{}` }

async function open(world: World): Promise<Cut> {
  const cut = { answer: well }
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => answer(socket, cut.answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await world.agent('cut', ['open'])
  await world.admin('route.put', { name: 'cut', upstream: url })
  await world.agent('cut-behind', ['open'])
  const { meshUrl } = await world.connectors.exposing('cut-behind', url)
  const { host, port } = new URL(meshUrl ?? '')
  const at = (name: string) => ({
    ...world.gateway,
    place: (_: string, path: string) => world.gateway.place(name, path),
  })
  const doors = {
    gateway: at('cut'),
    'gateway and connector': at('cut-behind'),
    connector: {
      ...world.mesh,
      place: (_: string, path: string) =>
        Promise.resolve({ authority: host, port: Number(port), path }),
    },
  }
  // State travels to connectors by a long poll: until then the receiver or its route is unknown.
  for (const door of Object.values(doors)) {
    await vi.waitFor(async () => expect((await send(door)).status).toBe(200), deadline)
  }
  return Object.assign(cut, { doors })
}

function answer(socket: Socket, { bytes, resets = false }: Answer): void {
  socket.write(bytes, () => {
    // Later than the bytes, so that they are read before the end is seen.
    setTimeout(() => (resets ? socket.resetAndDestroy() : socket.end()), 20)
  })
}

const brokenStream =
  (path: Path, given: Answer): Attempt =>
  async (world) => {
    const cut = await cutIn(world)
    cut.answer = given
    const opened = await openStream(cut.doors[path], {})
    const heard = await opened.ended()
    opened.close()
    expect(heard).toContain('data: {"a":1}')
    expect(heard).toContain('event: countersign-refusal')
    expect(heard).toContain('"code":"OUTCOME_UNKNOWN"')
    expect(heard).not.toContain('"b"')
    const [, exchange = ''] = /countersign-exchange: (\S+)/.exec(heard) ?? []
    const last = (await world.explain(exchange)).at(-1)
    expect(last?.facts).toMatchObject({ result: 'broken', code: 'OUTCOME_UNKNOWN' })
  }

const brokenWhole =
  (path: Path, given: Answer): Attempt =>
  async (world) => {
    const cut = await cutIn(world)
    cut.answer = given
    const heard = await send(cut.doors[path])
    expect(refusalOf(heard)).toBe('OUTCOME_UNKNOWN')
    const last = (await world.explain(exchangeOf(heard))).at(-1)
    expect(last?.facts).toMatchObject({ result: 'unknown', progress: 'sent' })
  }

const bareEnd =
  (path: Path, given: Answer, result: string): Attempt =>
  async (world) => {
    const cut = await cutIn(world)
    cut.answer = given
    const heard = await send(cut.doors[path])
    expect(heard.body.toString()).toContain('"a":1')
    expect(heard.headers.get('countersign-response-end')).toEqual(['connection'])
    const exchange = exchangeOf(heard)
    const last = (await world.explain(exchange)).at(-1)
    expect(last?.facts).toMatchObject({ result, 'response.end': 'connection' })
    // An answer with an end of its own does not state this.
    cut.answer = well
    const whole = await send(cut.doors[path])
    expect(whole.headers.get('countersign-response-end') ?? null).toBeNull()
    const facts = (await world.explain(exchangeOf(whole))).at(-1)?.facts
    expect(facts).not.toHaveProperty('response.end')
  }

const each = (path: Path): Readonly<Record<string, Attempt>> =>
  Object.fromEntries([
    ...Object.entries(streams).map(([way, bytes]) => [
      `${path}: a stream that ends with ${way}`,
      brokenStream(path, bytes),
    ]),
    ...Object.entries(wholes).map(([way, bytes]) => [
      `${path}: an answer that ends with ${way}`,
      brokenWhole(path, bytes),
    ]),
    ...Object.entries(bareEnds).map(([what, [bytes, result]]) => [
      `${path}: ${what} without an end of its own`,
      bareEnd(path, bytes, result),
    ]),
  ])

attack(
  verifies(
    ['deliver:whole-streams', 'deliver:unknown-outcome'],
    'half an answer is not passed off as a whole one',
  ),
  {
    gateway: { ...each('gateway'), ...each('gateway and connector') },
    mesh: each('connector'),
    queue: 'the fabric is the receiver',
  },
)
