import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  type Agent,
  AgentError,
  type AgentHandler,
  ndjsonResponse,
  openAgent,
  type ReceivedStream,
  RefusedError,
  type Served,
  verify,
} from '@countersign/sdk'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { gatedCaller } from '../harness/approvals.ts'
import { deadline } from '../harness/deadline.ts'
import { sendHalf } from '../harness/half-sent.ts'
import { openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

let world: World
let caller: Agent
const serving: Served[] = []
const agents = new Map<string, Agent>()

const streams = { permit: 'both' } as const
const routes = {
  ...{ open: { streams }, masked: { streams }, countersigned: { streams } },
  ...{ whole: {}, sums: { streams }, hidden: { streams }, tasks: { streams } },
  small: { streams: { ...streams, frameBytes: 1_024 } },
} as const

beforeAll(async () => {
  world = await openWorld({ receivers: [], routes })
  caller = await openAgent({ dir: join(world.dir, 'caller'), clock: world.clock })
})

afterEach(async () => {
  await Promise.all(serving.splice(0).map((served) => served.close()))
})

afterAll(async () => {
  await caller.close()
  await Promise.all([...agents.values()].map((agent) => agent.close()))
  await world.close()
})

async function agentOf(name: string): Promise<Agent> {
  const role = name === 'masked' || name === 'countersigned' ? name : 'open'
  await world.agent(name, [role])
  const known = agents.get(name)
  const agent = known ?? (await openAgent({ dir: join(world.dir, name), clock: world.clock }))
  agents.set(name, agent)
  return agent
}

async function serve(
  name: string,
  handler: AgentHandler,
  protocol: 'http' | 'a2a' = 'http',
): Promise<Agent> {
  const agent = await agentOf(name)
  serving.push(await agent.serve(handler, { protocol }))
  return agent
}

function pieces(
  from: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
): ReadableStream<Uint8Array> {
  return Readable.toWeb(Readable.from(from)) as ReadableStream<Uint8Array>
}

const octets = (count: number) => ({ body: pieces([new Uint8Array(count)]) })

/** Answers each line as it comes. */
const echoLines: AgentHandler = ({ stream }) => {
  async function* answers() {
    for await (const value of stream?.values() ?? []) yield { got: value }
  }
  return ndjsonResponse(answers())
}

async function failure(made: Promise<unknown>): Promise<AgentError | RefusedError> {
  const error: unknown = await made.then(
    () => null,
    (cause: unknown) => cause,
  )
  if (error instanceof AgentError || error instanceof RefusedError) return error
  throw error instanceof Error ? error : new Error('it did not fail')
}

async function* numbers(count: number) {
  for (let n = 0; n < count; n++) yield { n }
}

async function all<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const read: Value[] = []
  for await (const value of values) read.push(value)
  return read
}

describe(verifies(['stream:requests@gateway'], 'a streamed request of the SDK'), () => {
  test('is answered while it is sent, and both sides prove the frames by the receipt', async () => {
    let records: ReturnType<NonNullable<Parameters<AgentHandler>[0]['stream']>['frameRecords']>
    let exchange = ''
    const receiver = await serve('open', (incoming) => {
      const response = echoLines(incoming)
      exchange = incoming.exchange
      const take = () => incoming.stream?.frameRecords()
      return Promise.resolve(response).then(({ body, headers }) => {
        const last = new TransformStream({
          flush: () => {
            records = take() ?? records
          },
        })
        return new Response(body?.pipeThrough(last) ?? null, { headers })
      })
    })
    const next: (() => void)[] = []
    async function* asked() {
      for (let n = 0; n < 3; n++) {
        yield { n }
        // Not before its answer has been read.
        await new Promise<void>((resolve) => next.push(resolve))
      }
    }
    const reply = await caller.call('open', { path: '/talk', ndjson: asked() })
    const read: unknown[] = []
    for await (const value of reply.values()) {
      read.push(value)
      next.shift()?.()
    }
    expect(read).toEqual([{ got: { n: 0 } }, { got: { n: 1 } }, { got: { n: 2 } }])
    const receipt = await reply.receipt()
    expect(receipt.response.by).toBe('callee')
    const { request, response } = reply.frameRecords()
    if (request === null || response === null) throw new Error('both are streams')
    expect(request).toMatchObject({ frames: 3, bytes: 21 })
    await verify(receipt.bytes, caller.trust, { as: 'caller', request, response })
    const own = await receiver.receipt(exchange)
    expect(records!.request).toEqual(request)
    await verify(own.bytes, receiver.trust, { as: 'receiver', ...records! })
    const other = { ...request, digest: response.digest }
    const mismatch = await failure(
      verify(receipt.bytes, caller.trust, { as: 'caller', request: other }),
    )
    expect(mismatch.message).toContain('one was changed or moved')
  })

  test('of octets passes in blocks, as fast as its receiver reads it', async () => {
    await serve('open', async ({ stream }) => {
      let bytes = 0
      for await (const block of stream?.frames() ?? []) bytes += block.length
      return Response.json({ bytes })
    })
    async function* many() {
      for (let n = 0; n < 50; n++) yield new Uint8Array(10_000)
    }
    const body = pieces(many())
    const reply = await caller.call('open', { body })
    expect(await reply.json()).toEqual({ bytes: 500_000 })
    await reply.receipt()
    expect(reply.frameRecords()).toMatchObject({ request: { frames: 8, bytes: 500_000 } })
  })

  test('of smaller blocks on its route than the SDK cuts does not pass for one that was changed', async () => {
    await serve('small', async ({ stream }) => {
      await all(stream?.frames() ?? (async function* () {})())
      return new Response('ok')
    })
    const reply = await caller.call('small', { ...octets(5_000) })
    const error = await failure(reply.receipt())
    expect(error.code).toBe('FRAMES_MISMATCHED')
    expect(error.message).toContain('streams.frameBytes')
    const known = await caller.call('small', { ...octets(5_000), frameBytes: 1_024 })
    await known.receipt()
  })

  test('is masked on its way, and each side verifies the form that passed there', async () => {
    let served: ReturnType<NonNullable<Parameters<AgentHandler>[0]['stream']>['frameRecords']>
    let exchange = ''
    const receiver = await serve('masked', async (incoming) => {
      exchange = incoming.exchange
      const values = await all(incoming.stream!.values())
      served = incoming.stream!.frameRecords()
      return Response.json(values)
    })
    const reply = await caller.call('masked', { ndjson: [{ mail: 'ann@example.com' }, { n: 1 }] })
    expect(await reply.text()).not.toContain('ann@')
    const { bytes } = await reply.receipt()
    const { request } = reply.frameRecords()
    await verify(bytes, caller.trust, { as: 'caller', request: request! })
    await verify((await receiver.receipt(exchange)).bytes, receiver.trust, {
      as: 'receiver',
      request: served!.request,
    })
    const swapped = verify(bytes, receiver.trust, { as: 'receiver', request: request! })
    expect((await failure(swapped)).message).toContain('those of the other party')
  })

  test('has an answer whose masked form its receiver cannot claim to have sent', async () => {
    let stream: ReceivedStream | null = null
    let exchange = ''
    const receiver = await serve('masked', (incoming) => {
      ;({ stream, exchange } = incoming)
      async function* answers() {
        for await (const _ of incoming.stream!.values()) yield { mail: 'ann@example.com' }
      }
      return ndjsonResponse(answers())
    })
    const reply = await caller.call('masked', { ndjson: numbers(2) })
    expect(JSON.stringify(await all(reply.values()))).not.toContain('ann@')
    await reply.receipt()
    const { bytes } = await receiver.receipt(exchange)
    const { request, response } = stream!.frameRecords()
    await verify(bytes, receiver.trust, { as: 'receiver', request })
    const claimed = await failure(verify(bytes, receiver.trust, { as: 'receiver', response }))
    expect(claimed.message).toContain('the masked one')
  })

  test('that its receiver answers early has a receipt of its first frames alone', async () => {
    await serve('open', async ({ stream }) => {
      for await (const _ of stream!.frames()) break
      return Response.json({ enough: true })
    })
    let hasEnded = false
    async function* endless() {
      try {
        for (;;) yield { n: 'x'.repeat(1_000) }
      } finally {
        hasEnded = true
      }
    }
    const reply = await caller.call('open', { ndjson: endless() })
    expect(await reply.json()).toEqual({ enough: true })
    const error = await failure(reply.receipt())
    expect(error.code).toBe('FRAMES_MISMATCHED')
    expect(error.message).toContain('and no others')
    expect((await reply.receipt({ part: true })).response.by).toBe('callee')
    await expect.poll(() => hasEnded).toBe(true)
  })

  test('that fails ends as one that broke off, and is not sent again', async () => {
    let ended = 'nothing'
    let served = 0
    await serve('open', async ({ stream }) => {
      served += 1
      try {
        await all(stream!.frames())
        ended = 'whole'
      } catch (error) {
        ended = (error as AgentError).code
      }
      return new Response('late')
    })
    async function* failing() {
      yield { n: 0 }
      await expect.poll(() => served).toBe(1)
      throw new Error('the file is gone')
    }
    const error = await failure(caller.call('open', { ndjson: failing() }))
    expect(error).toMatchObject({ code: 'REQUEST_UNFINISHED', mayHaveActed: true, retry: false })
    expect(error.message).toContain('the file is gone')
    await expect.poll(() => ended).toBe('BODY_UNFINISHED')
    expect(served).toBe(1)
  })

  test('is refused with the step that helps', async () => {
    await serve('whole', () => new Response('ok'))
    await serve('masked', () => new Response('ok'))
    const whole = await failure(caller.call('whole', { ndjson: numbers(1) }))
    expect(whole).toMatchObject({ code: 'CONTENT_UNSUPPORTED', mayHaveActed: false })
    expect(whole.next).toContain('streams.permit')
    await agentOf('idle')
    for (const to of ['idle', 'nowhere']) {
      const streamed = await failure(caller.call(to, { ndjson: numbers(1) }))
      const unary = await failure(caller.call(to, { json: {} }))
      expect([streamed.code, streamed.next]).toEqual([unary.code, unary.next])
    }
    const opaque = await failure(caller.call('masked', { ...octets(9) }))
    expect(opaque.code).toBe('CONTENT_UNSUPPORTED')
    expect(opaque.next).toContain('octets')
    await serve('tasks', () => new Response('ok'), 'a2a')
    const other = await failure(caller.call('tasks', { ndjson: numbers(1) }))
    expect(other.code).toBe('CONTENT_UNSUPPORTED')
    expect(other.next).toContain('the protocol `http`')
  })

  test('is answered by an agent behind a connector, and its caller proves the frames', async () => {
    const hidden = createServer((request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      request.pipe(response)
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => hidden.once('listening', resolve))
    await world.agent('hidden', ['open'])
    const { port } = hidden.address() as AddressInfo
    await world.connectors.exposing('hidden', `http://127.0.0.1:${port}`, 'http')
    const { promise: read, resolve: goOn } = Promise.withResolvers<void>()
    async function* asked() {
      yield { n: 0 }
      // Not before its answer has been read.
      await read
      yield { n: 1 }
    }
    const reply = await caller.call('hidden', { ndjson: asked() })
    const values: unknown[] = []
    for await (const value of reply.values()) {
      values.push(value)
      goOn()
    }
    expect(values).toEqual([{ n: 0 }, { n: 1 }])
    const receipt = await reply.receipt()
    expect(receipt.response.by).toBe('callee')
    const { request, response } = reply.frameRecords()
    if (request === null || response === null) throw new Error('both are streams')
    await verify(receipt.bytes, caller.trust, { as: 'caller', request, response })
    const other = { ...request, digest: new Uint8Array(32) }
    const mismatch = await failure(
      verify(receipt.bytes, caller.trust, { as: 'caller', request: other }),
    )
    expect(mismatch.code).toBe('FRAMES_MISMATCHED')
    hidden.closeAllConnections()
    hidden.close()
  })

  test('is countersigned in its head, and whole where it is one message', async () => {
    await serve('countersigned', echoLines)
    const reply = await caller.call('countersigned', { ndjson: numbers(2) })
    expect(await all(reply.frames())).toHaveLength(2)
    expect((await reply.receipt()).response.by).toBe('callee')
  })

  test('ends at the time that its caller allows, also at its receiver', async () => {
    let gone = false
    await serve('open', async ({ request, stream }) => {
      request.signal.addEventListener('abort', () => {
        gone = true
      })
      await all(stream?.frames() ?? (async function* () {})())
      await new Promise((resolve) => request.signal.addEventListener('abort', resolve))
      return new Response('late')
    })
    const error = await failure(caller.call('open', { ndjson: numbers(2), timeoutMs: 300 }))
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', mayHaveActed: true })
    expect(error).toBeInstanceOf(RefusedError)
    await expect.poll(() => gone).toBe(true)
  })

  test('goes through fetch, where its author gives pieces', async () => {
    await serve('open', echoLines)
    const response = await caller.fetch('https://open.countersign.internal/x', {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: pieces(['{"n":', '0}\n{"n":1}\n']),
      duplex: 'half',
    } as RequestInit)
    expect(await response.text()).toBe('{"got":{"n":0}}\n{"got":{"n":1}}\n')
    expect((await caller.receiptOf(response)).response.by).toBe('callee')
  })
})

describe(verifies(['stream:requests@gateway'], 'a streamed request of the SDK'), () => {
  test('that its author gives up ends at its receiver, and ends its source', async () => {
    const ends: string[] = []
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    await serve('open', async ({ stream }) => {
      try {
        for await (const _ of stream!.frames()) begin()
        ends.push('whole')
      } catch (error) {
        ends.push((error as AgentError).code)
      }
      return new Response('late')
    })
    const leaving = new AbortController()
    async function* endless() {
      try {
        for (let n = 0; ; n++) {
          if (n === 3) {
            await begun
            leaving.abort(new Error('enough'))
          }
          yield { n }
        }
      } finally {
        ends.push('source')
      }
    }
    const made = caller.call('open', { ndjson: endless(), signal: leaving.signal })
    await expect(made).rejects.toThrow('enough')
    await expect.poll(() => ends.toSorted()).toEqual(['BODY_UNFINISHED', 'source'])
  })

  test('that its receiver does not read stops its source', async () => {
    const { promise: read, resolve: goOn } = Promise.withResolvers<void>()
    await serve('open', async ({ stream }) => {
      await read
      let bytes = 0
      for await (const block of stream!.frames()) bytes += block.length
      return Response.json({ bytes })
    })
    const total = 64 * 1024 * 1024
    let given = 0
    async function* many() {
      for (; given < total; given += 65_536) yield new Uint8Array(65_536)
    }
    const made = caller.call('open', { body: pieces(many()) })
    let [before, quiet] = [0, 0]
    const isQuiet = (): number => {
      quiet = given > 0 && given === before ? quiet + 1 : 0
      before = given
      return quiet
    }
    await expect.poll(isQuiet, { ...deadline, interval: 50 }).toBeGreaterThan(10)
    expect(given).toBeLessThan(total)
    goOn()
    expect(await (await made).json()).toEqual({ bytes: total })
  })

  test('does not wait for an approval, and its author learns what to do', async () => {
    let served = 0
    await serve('open', () => {
      served += 1
      return new Response('ok')
    })
    const { name } = await gatedCaller(world)
    const gated = await openAgent({ dir: join(world.dir, name), clock: world.clock })
    try {
      const ndjson = numbers(2)
      const error = await failure(gated.call('open', { ndjson, approval: { waitMs: 60_000 } }))
      expect(error).toMatchObject({ code: 'APPROVAL_REQUIRED', mayHaveActed: false })
      expect(error.next).toContain('send the content whole')
      const whole = await failure(gated.call('open', { json: [{ n: 0 }, { n: 1 }] }))
      expect(whole.code).toBe('APPROVAL_PENDING')
      expect(served).toBe(0)
    } finally {
      await gated.close()
    }
  })

  test('is no slow request at its receiver, however long it takes', async () => {
    const agent = await agentOf('open')
    const served = await agent.serve(echoLines, { protocol: 'http', requestMs: 1_000 })
    serving.push(served)
    const { promise: late, resolve: goOn } = Promise.withResolvers<void>()
    async function* slow() {
      yield { n: 0 }
      await late
      yield { n: 1 }
    }
    const reply = await caller.call('open', { ndjson: slow() })
    const values = reply.values()
    expect((await values.next()).value).toEqual({ got: { n: 0 } })
    // Begun later, and ended for its slowness: so the stream had its turn as well.
    const place = { port: served.port, authority: `127.0.0.1:${served.port}`, path: '/' }
    const credential = world.caller.credential()
    const half = await sendHalf(place, { credential, length: 100, sent: Buffer.from('{') })
    expect((await half.answer())?.status).toBe(408)
    half.close()
    goOn()
    expect(await all(values)).toEqual([{ got: { n: 1 } }])
    await reply.receipt()
  })
})

test('the documented program of a stream runs', async () => {
  const join = async (name: string, role: string) => {
    const order = { name, kind: 'agent', roles: [role], segment: '', attributes: {} } as const
    return (await world.fabric.invite({ ...order, ttlSeconds: 900 })).join
  }
  const program = fileURLToPath(new URL('../../examples/streamed-call.ts', import.meta.url))
  const joins = [await join('summer', 'caller'), await join('sums', 'open')]
  const words = ['--conditions=countersign-source', program, ...joins]
  const { stdout } = await promisify(execFile)(process.execPath, words)
  expect(stdout).toContain('3 frames sent, 3 received')
})
