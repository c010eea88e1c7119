import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  type ClientHttp2Stream,
  connect,
  createServer as createHttp2Server,
  type Http2Server,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { compareFrames, compareMessage, verifyReceipt } from '@countersign/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '../../packages/fabric/src/lib/sha256.ts'
import { deadline } from '../harness/deadline.ts'
import { refusalOf, send, sendAll } from '../harness/doors.ts'
import { dial } from '../harness/raw-http.ts'
import { openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

let world: World
let receiver: Server
let grpc: Http2Server
let answerGrpc: (stream: ServerHttp2Stream) => void
let key = ''
/** The chunks that the receiver has read, and whether its requests came whole. */
let taken: string[] = []
let ended: string[] = []
let answer: (request: IncomingMessage, response: ServerResponse) => void

const names = ['echo', 'masked', 'blocked', 'strict'] as const
const bounds = { permit: 'both', frameBytes: 1_024, frames: 20 } as const

beforeAll(async () => {
  world = await openWorld({ receivers: [...names] })
  receiver = createServer((request, response) => {
    // Of the test in which it came: its end may come in the next one.
    const [read, ends] = [taken, ended]
    request.on('data', (chunk: Buffer) => read.push(chunk.toString()))
    request.on('end', () => ends.push('whole'))
    request.on('error', () => ends.push('broken'))
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => receiver.once('listening', resolve))
  const { port } = receiver.address() as AddressInfo
  const put = (name: string, protocol: string, settings: object) =>
    world.admin('route.put', { name, upstream: `http://127.0.0.1:${port}`, protocol, settings })
  for (const name of names) await put(name, 'http', { streams: bounds })
  for (const name of ['plain', 'auto', 'slow', 'large', 'grpc']) await world.agent(name, ['open'])
  await put('slow', 'http', { streams: { ...bounds, idleMs: 300 } })
  await put('large', 'http', { streams: { permit: 'request' } })
  grpc = createHttp2Server()
  grpc.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined)
    answerGrpc(stream)
  })
  await new Promise<void>((resolve) => grpc.listen(0, '127.0.0.1', resolve))
  const upstream = `http://127.0.0.1:${(grpc.address() as AddressInfo).port}`
  const settings = { streams: bounds }
  await world.admin('route.put', { name: 'grpc', upstream, protocol: 'http', settings })
  await put('plain', 'http', {})
  await put('auto', 'auto', { streams: bounds })
  await world.agent('passer', ['caller'])
  key = ((await world.admin('key.create', { agent: 'caller' })) as { key: string }).key
})

function echoMessages(stream: ServerHttp2Stream): void {
  const head = { ':status': 200, 'content-type': 'application/grpc' }
  stream.respond(head, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'set-cookie': 'a' }))
  stream.pipe(stream)
}

beforeEach(() => {
  taken = []
  ended = []
  answerGrpc = echoMessages
  answer = (request, response) => {
    request.on('end', () =>
      response.end(JSON.stringify({ lines: taken.join('').split('\n').length - 1 })),
    )
  }
})

afterAll(async () => {
  receiver.closeAllConnections()
  receiver.close()
  grpc.close()
  await world.close()
})

interface Open {
  readonly stream: ClientHttp2Stream
  /** Status, headers and body, once the response has ended. */
  readonly response: Promise<Answer>
  /** The part of the body that has come so far. */
  body(): string
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

function open(
  to: string,
  type = 'application/x-ndjson',
  fields: Record<string, string> = {},
): Open {
  const session = connect(world.fabric.origin, { ca: world.fabric.rootPem })
  session.on('error', () => undefined)
  const stream = session.request({
    ':method': 'POST',
    ':path': `/agents/${to}/upload`,
    'x-api-key': key,
    'content-type': type,
    ...fields,
  })
  const body: Buffer[] = []
  const response = new Promise<Answer>((resolve, reject) => {
    let head: Record<string, unknown> = {}
    stream.on('response', (headers) => {
      head = headers
    })
    stream.on('data', (chunk: Buffer) => body.push(chunk))
    stream.on('end', () => {
      resolve({
        status: Number(head[':status']),
        headers: head,
        body: Buffer.concat(body).toString(),
      })
      session.close()
    })
    stream.on('error', reject)
  })
  response.catch(() => undefined)
  return { stream, response, body: () => Buffer.concat(body).toString() }
}

async function recordOf({ headers }: Answer) {
  const id = String(headers['countersign-exchange'])
  const entries = await world.explain(id)
  return { intent: entries[0]?.facts ?? {}, outcome: entries.at(-1)?.facts ?? {} }
}

function transcript(frames: readonly string[]): string {
  const parts = frames.flatMap((frame) => {
    const data = Buffer.from(frame)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(data.length)
    return [length, data]
  })
  return Buffer.from(sha256(Buffer.concat(parts))).toString('hex')
}

/** Waits until the receiver has `count` lines. */
async function lines(count: number): Promise<void> {
  await expect.poll(() => taken.join('').split('\n').length - 1).toBe(count)
}

/** A message of gRPC. */
const message = (text: string): Buffer =>
  Buffer.concat([Buffer.of(0, 0, 0, 0, text.length), Buffer.from(text)])

const numbered = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => `{"n":${at}}`)

describe(verifies(['stream:requests@gateway'], 'a streamed request'), () => {
  test('reaches its receiver frame by frame, and its outcome has the transcript', async () => {
    const { stream, response } = open('echo')
    const frames = [1, 2, 3].map((n) => `{"n":${n}}`)
    for (const [at, frame] of frames.entries()) {
      stream.write(`${frame}\n`)
      await lines(at + 1)
    }
    stream.end()
    const given = await response
    expect(given).toMatchObject({ status: 200, body: '{"lines":3}' })
    const { intent, outcome } = await recordOf(given)
    expect(intent).toMatchObject({ 'request.streamed': 'ndjson', 'attested.request': 'fabric' })
    expect(outcome).toMatchObject({ result: 'delivered', 'request.frames': 3, 'request.bytes': 21 })
    expect(outcome['request.transcript']).toBe(transcript(frames))
    expect(outcome['request.forwarded-transcript']).toBe(transcript(frames))
  })

  test('is masked in its seventh frame as in its first', async () => {
    const { stream, response } = open('masked')
    const frames = [...numbered(6), '{"mail":"ann@example.com"}']
    stream.end(`${frames.join('\n')}\n`)
    const given = await response
    expect(given.status).toBe(200)
    expect(taken.join('')).toContain('"n":5')
    expect(taken.join('')).not.toContain('ann@example.com')
    const { outcome } = await recordOf(given)
    expect(outcome).toMatchObject({ 'request.frames': 7, 'request.masked': 'email:1' })
    expect(outcome['request.transcript']).toBe(transcript(frames))
    const forwarded = taken.join('').trimEnd().split('\n')
    expect(outcome['request.forwarded-transcript']).toBe(transcript(forwarded))
  })

  test('of bytes without a form passes in blocks where policy requires nothing of it', async () => {
    const { stream, response } = open('large', 'application/octet-stream')
    stream.end(Buffer.alloc(200_000, 0xff))
    const given = await response
    expect(given.status).toBe(200)
    const { outcome } = await recordOf(given)
    expect(outcome).toMatchObject({ 'request.frames': 4, 'request.bytes': 200_000 })
  })

  test('that its receiver answers before its end is not read any further', async () => {
    answer = (_, response) => response.end('{"enough":true}')
    const { stream, response } = open('echo')
    stream.write('{"n":0}\n')
    const given = await response
    expect(given).toMatchObject({ status: 200, body: '{"enough":true}' })
    const { outcome } = await recordOf(given)
    expect(outcome).toMatchObject({ result: 'delivered', 'request.frames': 1 })
  })
})

/** Answers each line as it comes. */
const echoLines = (request: IncomingMessage, response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  request.on('data', (chunk: Buffer) => response.write(chunk))
  request.on('end', () => response.end())
}

describe(verifies(['stream:requests@gateway'], 'a stream in both directions'), () => {
  test('is answered frame by frame, and its receipt verifies against the frames', async () => {
    answer = echoLines
    const { stream, response, body } = open('echo')
    const frames = numbered(3)
    for (const [at, frame] of frames.entries()) {
      stream.write(`${frame}\n`)
      await expect.poll(() => body().split('\n').length - 1).toBe(at + 1)
    }
    stream.end()
    const given = await response
    expect(given).toMatchObject({ status: 200, body: `${frames.join('\n')}\n` })
    const { outcome } = await recordOf(given)
    expect(outcome).toMatchObject({ result: 'completed', events: 3, 'request.frames': 3 })
    expect(outcome['transcript']).toBe(transcript(frames))
    const path = `/v1/receipts/${String(given.headers['countersign-exchange'])}`
    const { body: document } = await send(world.control, { method: 'GET', path, body: null })
    const receipt = await verifyReceipt(new Uint8Array(document), world.caller.trust)
    const bytes = frames.map((frame) => Buffer.from(frame))
    expect(await compareFrames(receipt, 'request', bytes)).toBe('same')
    expect(await compareFrames(receipt, 'response', bytes)).toBe('forwarded')
    const [first = Buffer.of(), second = Buffer.of(), third = Buffer.of()] = bytes
    for (const other of [
      [second, first, third],
      [first, third],
      [Buffer.concat([first, second]), third],
      [...bytes, Buffer.of()],
      [first, second, Buffer.from('{"n":9}')],
    ]) {
      expect(await compareFrames(receipt, 'request', other)).toBe('other')
    }
    expect(await compareMessage(receipt, 'request', first)).toBe('streamed')
  })

  test('of gRPC goes over HTTP/2 both ways, with the status in its trailers', async () => {
    const { stream, response, body } = open('grpc', 'application/grpc+proto')
    let trailers: Record<string, unknown> = {}
    stream.on('trailers', (given) => {
      trailers = given
    })
    stream.write(message('one'))
    await expect.poll(body).toBe(message('one').toString())
    stream.end(message('second'))
    const given = await response
    expect(given.body).toBe(Buffer.concat([message('one'), message('second')]).toString())
    expect(trailers).toMatchObject({ 'grpc-status': '0' })
    expect(trailers).not.toHaveProperty('set-cookie')
    const { intent, outcome } = await recordOf(given)
    expect(intent).toMatchObject({ 'request.streamed': 'grpc' })
    expect(outcome).toMatchObject({ result: 'completed', events: 2, 'request.frames': 2 })
    expect(outcome['transcript']).toBe(transcript(['one', 'second']))
  })

  test('of gRPC whose receiver ends its session within the response breaks off', async () => {
    answerGrpc = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.resume()
      // The whole request has come, so that nothing but the missing end shows the cut.
      stream.on('end', () => {
        stream.write(message('one'))
        leave = () => stream.session?.destroy()
      })
    }
    let leave = (): void => expect.unreachable('the request did not end')
    const { stream, response, body } = open('grpc', 'application/grpc')
    let id = ''
    stream.on('response', (head) => {
      id = String(head['countersign-exchange'])
    })
    stream.end(message('ask'))
    await expect.poll(body).toBe(message('one').toString())
    leave()
    await expect(response).rejects.toThrow()
    const outcome = async () => (await world.explain(id)).at(-1)?.facts
    await expect.poll(outcome, deadline).toMatchObject({ result: 'broken', events: 1 })
  })

  test('is masked in a frame of its response, and breaks off where one may not pass', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      response.write('{"mail":"ann@example.com"}\n{"n":\n')
    }
    const cut = open('masked')
    cut.stream.write('{"n":0}\n')
    await expect(cut.response).rejects.toThrow()
    expect(cut.body()).toContain('mail')
    expect(cut.body()).not.toContain('ann@example.com')
  })

  test('is not answered in another charset than the one in which frames are inspected', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=iso-8859-1' })
      response.end('{"n":0}\n')
    }
    const given = await refused('echo', ['{"n":0}\n'])
    expect(given.headers).toMatchObject(refusal('RESPONSE_REJECTED', true))
    expect(given.body).not.toContain('"n":0')
  })

  test('ends in both directions when a frame of the request may not pass', async () => {
    answer = echoLines
    const { stream, response, body } = open('blocked')
    stream.write('{"n":0}\n')
    await expect.poll(body).toBe('{"n":0}\n')
    stream.write('{"pay":"4111 1111 1111 1111"}\n')
    await expect(response).rejects.toThrow()
    await expect.poll(() => ended).toEqual(['broken'])
  })
})

/** Streams `frames`, one at a time where `before` is given, and gives the refusal. */
async function refused(to: string, frames: readonly string[], type?: string): Promise<Answer> {
  const { stream, response } = open(to, type)
  for (const frame of frames) stream.write(frame)
  const given = await response
  stream.destroy()
  return given
}

const refusal = (code: string, mayHaveActed: boolean) => ({
  'countersign-refusal': code,
  'countersign-may-have-acted': String(mayHaveActed),
})

describe(verifies(['stream:requests@gateway'], 'nothing is delivered of'), () => {
  test.each([
    ['bytes without a form where policy requires masking', 'masked', 'application/octet-stream'],
    ['messages of gRPC where policy requires blocking', 'blocked', 'application/grpc'],
  ])('%s', async (_, to, type) => {
    const given = await refused(to, ['\0\0\0\0\u0001x', 'x'.repeat(70_000)], type)
    expect(given.headers).toMatchObject(refusal('CONTENT_UNSUPPORTED', false))
    expect(taken).toEqual([])
  })

  test.each(['utf-7', 'utf-16le', 'iso-8859-1', 'x-none'])(
    'lines in %s, which a reader that goes by the head would take for what no detector has read',
    async (charset) => {
      const type = `application/x-ndjson; charset=${charset}`
      const given = await refused('masked', ['{"m":"ann+AEA-example.com"}\n'], type)
      expect(given.headers).toMatchObject(refusal('CONTENT_UNSUPPORTED', false))
      expect(taken).toEqual([])
    },
  )

  test('a stream whose first frame is blocked, or larger than a frame may be', async () => {
    const blocked = await refused('blocked', ['{"pay":"4111 1111 1111 1111"}\n'])
    expect(blocked.headers).toMatchObject(refusal('CONTENT_BLOCKED', false))
    const large = await refused('echo', [`"${'x'.repeat(2_000)}`])
    expect(large.headers).toMatchObject(refusal('MESSAGE_TOO_LARGE', false))
    expect(large.headers['countersign-limit']).toContain('stream.frameBytes')
    expect(taken).toEqual([])
  })

  test('a stream where policy requires a signature, which could not cover it', async () => {
    const given = await refused('strict', ['{"n":0}\n'])
    expect(given.headers).toMatchObject(refusal('SIGNATURE_MISSING', false))
  })

  test('a stream to a route that permits none, and to one of another protocol', async () => {
    const none = await refused('plain', [`${'x'.repeat(70_000)}\n`])
    expect(none.headers).toMatchObject(refusal('MESSAGE_TOO_LARGE', false))
    const other = await refused('auto', ['{"n":0}\n'])
    expect(other.headers).toMatchObject(refusal('CONTENT_UNSUPPORTED', false))
    expect(taken).toEqual([])
  })
})

describe(
  verifies(
    ['stream:requests@gateway'],
    'a stream that has begun ends as one that the receiver may have acted on',
  ),
  () => {
    const begun = '{"n":0}\n'
    const late: readonly (readonly [string, string, readonly string[]])[] = [
      ['when its seventh frame is blocked', 'blocked', ['{"pay":"4111 1111 1111 1111"}\n']],
      ['when a frame is not JSON', 'echo', ['{"n":\n']],
      ['when a frame is two to some readers', 'echo', ['{"n":\r1}\n']],
      ['when a frame is larger than one may be', 'echo', [`"${'x'.repeat(2_000)}`]],
      ['when it has more frames than it may have', 'echo', numbered(30).map((line) => `${line}\n`)],
      ['when a frame comes byte by byte', 'slow', ['{', '"', 'n']],
      ['when no frame comes', 'slow', []],
    ]
    test.each(late)('%s', async (_, to, frames) => {
      const { stream, response } = open(to)
      for (let at = 1; at <= 6; at++) {
        stream.write(begun)
        await lines(at)
      }
      for (const frame of frames) stream.write(frame)
      const given = await response
      stream.destroy()
      expect(given.headers).toMatchObject(refusal('STREAM_REJECTED', true))
      await expect.poll(() => ended).toEqual(['broken'])
      const { outcome } = await recordOf(given)
      expect(outcome).toMatchObject({ result: 'cut', code: 'STREAM_REJECTED' })
      const count = Number(outcome['request.frames'])
      expect(count).toBeGreaterThanOrEqual(6)
      expect(outcome['request.transcript']).toBe(
        transcript([...Array.from({ length: 6 }, () => begun.trim()), ...numbered(count - 6)]),
      )
    })

    test('when its caller is quarantined, also while it sends nothing', async () => {
      const own = (await world.admin('key.create', { agent: 'passer' })) as { key: string }
      const { stream, response } = open('echo', undefined, { 'x-api-key': own.key })
      stream.write(begun)
      await lines(1)
      await world.admin('agent.quarantine', { name: 'passer', reason: 'a leaked key' })
      const given = await response
      stream.destroy()
      expect(given.headers).toMatchObject(refusal('WITHDRAWN', true))
      await expect.poll(() => ended).toEqual(['broken'])
      expect((await recordOf(given)).outcome).toMatchObject({ result: 'cut', 'request.frames': 1 })
    })

    test('when policy requires more of it than it did', async () => {
      const { stream, response } = open('echo')
      stream.write(begun)
      await lines(1)
      const text = '@id("later") @mask("card") permit(principal, action, resource in Role::"open");'
      await world.admin('policy.put', { name: 'later.cedar', text })
      const given = await response
      stream.destroy()
      const without = text.replace('"open"', '"nobody"')
      await world.admin('policy.put', { name: 'later.cedar', text: without })
      expect(given.headers).toMatchObject(refusal('WITHDRAWN', true))
    })
  },
)

describe(verifies(['stream:requests@gateway'], 'two readings of where a stream ends'), () => {
  const draft = { to: 'echo', contentType: 'application/x-ndjson' } as const
  const key1 = (): readonly (readonly [string, string])[] => [['X-Api-Key', key]]
  const hidden = 'POST /agents/echo/hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'

  test('by two lengths, no byte of it is delivered', async () => {
    const answers = await sendAll(world.gateway, {
      ...draft,
      headers: [...key1(), ['Transfer-Encoding', 'chunked']],
      payload: [`8\r\n{"n":0}\n\r\n0\r\n\r\n${hidden}`],
    })
    expect(answers.map(refusalOf)).toEqual(['MESSAGE_MALFORMED'])
    expect(taken).toEqual([])
  })

  test('by a chunk of another size, the receiver sees a request that broke off', async () => {
    const { port, authority, path } = await world.gateway.place('echo', '/')
    const socket = await dial({ port, credential: world.gateway.credential() })
    socket.on('error', () => undefined)
    const head = [
      `POST ${path} HTTP/1.1`,
      `Host: ${authority}`,
      'Content-Type: application/x-ndjson',
      'Transfer-Encoding: chunked',
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n8\r\n{"n":0}\n\r\n`)
    await lines(1)
    socket.write(`5\r\n{"n":1}\n\r\n0\r\n\r\n${hidden}`)
    await expect.poll(() => ended).toEqual(['broken'])
    expect(taken.join('')).toBe('{"n":0}\n')
    socket.destroy()
  })

  test('by a length that HTTP/2 contradicts, the receiver sees a request that broke off', async () => {
    const { stream, response } = open('slow', undefined, { 'content-length': '100' })
    stream.write('{"n":0}\n')
    await lines(1)
    stream.end()
    await expect(response).rejects.toThrow()
    await expect.poll(() => ended).toEqual(['broken'])
  })
})

test(
  verifies(['stream:requests@gateway'], 'a caller that leaves ends the request to the receiver'),
  async () => {
    const { stream } = open('echo')
    stream.write('{"n":0}\n')
    await lines(1)
    stream.destroy()
    await expect.poll(() => ended).toEqual(['broken'])
  },
)

test(
  verifies(['stream:requests@gateway'], 'a receiver that does not read stops its caller'),
  async () => {
    answer = (request) => request.pause()
    const { stream } = open('large', 'application/octet-stream')
    let written = 0
    const chunk = Buffer.alloc(64 * 1024)
    const pour = (): void => {
      while (
        stream.write(chunk, () => {
          written += chunk.length
        }) &&
        written < 64 * 1024 * 1024
      );
    }
    stream.on('drain', pour)
    pour()
    await expect.poll(() => written).toBeGreaterThan(0)
    let [before, quiet] = [0, 0]
    const isQuiet = (): number => {
      quiet = written === before ? quiet + 1 : 0
      before = written
      return quiet
    }
    await expect.poll(isQuiet, { ...deadline, interval: 50 }).toBeGreaterThan(10)
    expect(written).toBeLessThan(24 * 1024 * 1024)
    stream.destroy()
  },
)
