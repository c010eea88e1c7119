import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { deadline } from '../harness/deadline.ts'
import { openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

let world: World
let receiver: Server
let sessions: ClientHttp2Session[] = []
/** The receiver's connection for a response that never ends was closed. */
let isLongOver = false

beforeAll(async () => {
  // A quarter of it is for one identity: 16 MiB.
  const requestMemoryBytes = 64 * 1024 * 1024
  const limits = { bodyBytes: 256 * 1024, requestMemoryBytes, responseMemoryBytes: 1024 * 1024 }
  world = await openWorld({ limits, receivers: ['echo'] })
  receiver = createServer((request, response) => {
    request.resume().on('error', () => undefined)
    request.on('end', () => {
      if (request.url === '/long') {
        response.setHeader('content-type', 'application/x-ndjson')
        response.once('close', () => {
          isLongOver = true
        })
        return void response.write(`${JSON.stringify('x'.repeat(1_000))}\n`.repeat(1_000))
      }
      // Nearly all that is for one receiver.
      if (request.url === '/half') return void response.write(' '.repeat(240 * 1024))
      response.end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const upstream = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  const settings = { streams: { permit: 'both' } }
  await world.admin('route.put', { name: 'echo', upstream, protocol: 'http', settings })
  await world.agent('neighbour', ['caller'])
})

afterAll(async () => {
  receiver.closeAllConnections()
  receiver.close()
  await world.close()
})

async function keyOf(agent: string): Promise<string> {
  return ((await world.admin('key.create', { agent })) as { key: string }).key
}

function session(): ClientHttp2Session {
  const opened = connect(world.fabric.origin, { ca: world.fabric.rootPem })
  opened.on('error', () => undefined)
  sessions.push(opened)
  return opened
}

/** A stream that stays open after `first`; its answers are put into `answers`. */
function hoard(
  on: ClientHttp2Session,
  key: string,
  first: Buffer | string,
  answers: string[],
  path = '/upload',
) {
  const stream = on.request({
    ':method': 'POST',
    ':path': `/agents/echo${path}`,
    'x-api-key': key,
    'content-type': 'application/x-ndjson',
  })
  stream.on('error', () => undefined)
  stream.on('response', (head) =>
    answers.push(`${String(head['countersign-refusal'])} ${String(head['countersign-limit'])}`),
  )
  stream.resume()
  stream.write(first)
  return stream
}

async function leave(): Promise<void> {
  const closed = sessions.map((each) => once(each, 'close'))
  for (const each of sessions) each.destroy()
  sessions = []
  await Promise.all(closed)
}

/** One whole streamed request. */
async function passes(key: string): Promise<number> {
  const stream: ClientHttp2Stream = hoard(session(), key, '{"n":0}\n', [])
  stream.end()
  const [head] = (await once(stream, 'response')) as [Record<string, unknown>]
  return Number(head[':status'])
}

describe(verifies(['stream:requests@gateway'], 'streams that one caller keeps open'), () => {
  test('are refused from a number of them on, and no other caller is', async () => {
    const [key, other] = [await keyOf('caller'), await keyOf('neighbour')]
    const answers: string[] = []
    for (let at = 0; at < 3; at++) {
      const on = session()
      // Half a frame: none of them is on record, and each is open.
      for (let each = 0; each < 90; each++) hoard(on, key, '{', answers)
    }
    await expect.poll(() => answers).toHaveLength(270 - 256)
    expect(new Set(answers)).toEqual(new Set(['RATE_LIMITED stream.open, 256 per identity']))
    expect(await passes(other)).toBe(200)
    await leave()
    await expect.poll(() => passes(key)).toBe(200)
    await leave()
  })

  test('end where their first frames occupy more than the share of their caller', async () => {
    const key = await keyOf('caller')
    const first = Buffer.from(`"${'x'.repeat(1_000_000)}"\n`)
    const answers: string[] = []
    const on = session()
    for (let at = 0; at < 20; at++) {
      hoard(on, key, first, answers)
    }
    await expect.poll(() => answers.length).toBeGreaterThan(2)
    for (const answer of answers) expect(answer).toContain('limits.requestMemoryBytes')
    await leave()
    await expect.poll(() => passes(key)).toBe(200)
    await leave()
  })
})

describe(verifies(['stream:requests@gateway'], 'a response of frames'), () => {
  test('that makes room for another one never ends as a whole one', async () => {
    const slow = hoard(session(), await keyOf('caller'), '{"n":0}\n', [], '/long')
    const closed = new Promise((resolve) => slow.once('close', resolve))
    slow.pause()
    slow.end()
    const [head] = (await once(slow, 'response')) as [Record<string, unknown>]
    const id = String(head['countersign-exchange'])
    hoard(session(), await keyOf('neighbour'), '{"n":0}\n', [], '/half').end()
    // The part that waits for its reader was dropped.
    await expect.poll(() => isLongOver, deadline).toBe(true)
    slow.resume()
    await closed
    expect(slow.rstCode).not.toBe(0)
    const outcome = async () => (await world.explain(id)).at(-1)?.facts
    await expect.poll(outcome, deadline).toMatchObject({
      ...{ result: 'broken', code: 'OUTCOME_UNKNOWN' },
    })
    await leave()
  })
})
