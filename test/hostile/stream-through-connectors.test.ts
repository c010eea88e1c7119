import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createServer as createHttp2Server,
  type Http2Server,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { compareFrames, compareMessage, verifyReceipt } from '@countersign/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '../../packages/fabric/src/lib/sha256.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
import { type FrameWatch, openFrameWatch } from '../harness/frame-watch.ts'
import { dial } from '../harness/raw-http.ts'
import { signed } from '../harness/signed.ts'
import { openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

let world: World
let key = ''
let receiver: Server
/** Speaks HTTP/2 with prior knowledge alone, as servers of gRPC do on a plain address. */
let grpc: Http2Server
/** The network in front of it. */
let wire: FrameWatch
let answerGrpc: (stream: ServerHttp2Stream) => void
/** The chunks that the receiver has read, and how its requests ended. */
let taken: string[] = []
let ended: string[] = []
/** The exchanges of what reached the receiver. */
let seen: string[] = []
let answer: RequestListener

const bounds = { permit: 'both', frameBytes: 1_024, frames: 20 } as const
const streamed = { streams: bounds }
/** Receivers behind connectors of their own, by the role that policy permits them by. */
const receivers = {
  talk: 'open',
  cover: 'masked',
  stop: 'blocked',
  strict: 'signed',
  answerable: 'countersigned',
  large: 'open',
  whole: 'open',
  grpc: 'open',
  'grpc-stop': 'blocked',
} as const
type Name = keyof typeof receivers

/** Counts the lines when the request has ended. */
const count: RequestListener = (incoming, response) => {
  incoming.on('end', () => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ lines: taken.join('').split('\n').length - 1 }))
  })
}

/** Answers each line as it comes. */
const echoLines: RequestListener = (incoming, response) => {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  incoming.on('data', (chunk: Buffer) => response.write(chunk))
  incoming.on('end', () => response.end())
}

/** Answers each message as it comes, and ends with the status in trailers. */
function echoMessages(stream: ServerHttp2Stream): void {
  const head = { ':status': 200, 'content-type': 'application/grpc+proto' }
  stream.respond(head, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'set-cookie': 'a' }))
  stream.on('data', (chunk: Buffer) => stream.write(chunk))
  stream.on('end', () => stream.end())
}

function listener(incoming: IncomingMessage, response: ServerResponse): void {
  // Of the test in which it came: its end may come in the next one.
  const [read, ends] = [taken, ended]
  seen.push(String(incoming.headers['countersign-exchange']))
  incoming.on('data', (chunk: Buffer) => read.push(chunk.toString()))
  incoming.on('end', () => ends.push('whole'))
  incoming.on('error', () => ends.push('broken'))
  answer(incoming, response)
}

beforeAll(async () => {
  const names = Object.keys(receivers) as Name[]
  const settings = names.flatMap((name) => (name === 'whole' ? [] : [[name, streamed] as const]))
  const large = { streams: { permit: 'request' } } as const
  world = await openWorld({
    receivers: [],
    routes: { ...Object.fromEntries(settings), large },
  })
  receiver = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => receiver.once('listening', resolve))
  grpc = createHttp2Server()
  grpc.on('stream', (stream: ServerHttp2Stream, head) => {
    seen.push(String(head['countersign-exchange']))
    const [read, ends] = [taken, ended]
    stream.on('data', (chunk: Buffer) => read.push(chunk.toString()))
    // Node reports an end of a stream that was reset, too.
    stream.on('close', () => ends.push(stream.rstCode === 0 ? 'whole' : 'broken'))
    stream.on('error', () => undefined)
    answerGrpc(stream)
  })
  await new Promise<void>((resolve) => grpc.listen(0, '127.0.0.1', resolve))
  wire = await openFrameWatch((grpc.address() as AddressInfo).port)
  for (const name of names) {
    await world.agent(name, [receivers[name]])
    const { port } = name.startsWith('grpc') ? wire : (receiver.address() as AddressInfo)
    doors.set(name, await doorOf(name, `http://127.0.0.1:${port}`))
  }
  key = ((await world.admin('key.create', { agent: 'caller' })) as { key: string }).key
})

beforeEach(() => {
  taken = []
  ended = []
  seen = []
  wire.forget()
  answer = count
  answerGrpc = echoMessages
})

afterAll(async () => {
  receiver.closeAllConnections()
  receiver.close()
  grpc.close()
  wire.close()
  await world.close()
})

/** The callee's side of each connector, past that of the caller. */
const doors = new Map<string, Door>()

async function doorOf(name: string, url: string): Promise<Door> {
  const { meshUrl } = await world.connectors.exposing(name, url, 'http')
  const { host, port } = new URL(meshUrl ?? '')
  return {
    ...world.mesh,
    place: (_, path) => Promise.resolve({ authority: host, port: Number(port), path }),
  }
}

function door(name: Name): Door {
  const found = doors.get(name)
  if (found === undefined) throw new Error(`${name} is not open`)
  return found
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

interface Open {
  write(text: string | Uint8Array): boolean
  end(text?: string): void
  leave(): void
  onDrain(listener: () => void): void
  /** Rejects where it broke off. */
  readonly response: Promise<Answer>
  /** The part of the body that has come so far. */
  body(): string
}

/** A stream of the agent `from`, which speaks plain HTTP to its own connector. */
async function open(to: string, type = 'application/x-ndjson', from = 'caller'): Promise<Open> {
  const { port, path } = await world.connectors.loopback(from, to, '/upload')
  const headers = { 'content-type': type, 'transfer-encoding': 'chunked' }
  const outgoing = request({ host: '127.0.0.1', port, path, method: 'POST', headers })
  const body: Buffer[] = []
  const response = new Promise<Answer>((resolve, reject) => {
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => {
      incoming.on('data', (chunk: Buffer) => body.push(chunk))
      incoming.on('error', reject)
      incoming.on('end', () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: Buffer.concat(body).toString(),
        }),
      )
    })
  })
  response.catch(() => undefined)
  return {
    write: (text) => outgoing.write(text),
    end: (text) => outgoing.end(text),
    leave: () => outgoing.destroy(),
    onDrain: (listener) => outgoing.on('drain', listener),
    response,
    body: () => Buffer.concat(body).toString(),
  }
}

/** A connector receives the news of a new agent by its long poll, and refuses it until then. */
async function opened(to: Name, first: string, from = 'caller'): Promise<Open> {
  let stream = await open(to, undefined, from)
  stream.write(`${first}\n`)
  await expect
    .poll(async () => {
      if (taken.length > 0) return true
      const refused = await Promise.race([stream.response, pause(20)])
      if (refused === null) return false
      stream = await open(to, undefined, from)
      stream.write(`${first}\n`)
      return false
    }, deadline)
    .toBe(true)
  return stream
}

const pause = (ms: number): Promise<null> =>
  new Promise((resolve) => setTimeout(() => resolve(null), ms))

async function recordOf(exchange: unknown) {
  const entries = await world.explain(String(exchange))
  return { intent: entries[0]?.facts ?? {}, outcome: entries.at(-1)?.facts ?? {} }
}

/** The facts of the receiver's connector about the end of the last stream, once on record. */
async function lastOutcome() {
  const exchange = seen.at(-1)
  const found = async () => (await recordOf(exchange)).outcome
  await expect.poll(async () => (await found())['result'], deadline).toBeDefined()
  return found()
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

/** Waits until the receiver has `wanted` lines. */
async function lines(wanted: number): Promise<void> {
  await expect.poll(() => taken.join('').split('\n').length - 1, deadline).toBe(wanted)
}

const numbered = (wanted: number): string[] =>
  Array.from({ length: wanted }, (_, at) => `{"n":${at}}`)

async function receiptOf({ headers }: Answer) {
  const path = `/v1/receipts/${String(headers['countersign-exchange'])}`
  const { body } = await send(world.control, { method: 'GET', path, body: null })
  return verifyReceipt(new Uint8Array(body), world.caller.trust)
}

const refusal = (code: string, mayHaveActed: boolean) => ({
  'countersign-refusal': code,
  'countersign-may-have-acted': String(mayHaveActed),
})

describe(verifies(['stream:requests@mesh'], 'a stream through two connectors'), () => {
  test('reaches its receiver frame by frame, and its receipt has the transcript', async () => {
    const frames = numbered(3)
    const stream = await opened('talk', frames[0] ?? '')
    for (const [at, frame] of frames.slice(1).entries()) {
      stream.write(`${frame}\n`)
      await lines(at + 2)
    }
    stream.end()
    const given = await stream.response
    expect(given).toMatchObject({ status: 200, body: '{"lines":3}' })
    const { intent, outcome } = await recordOf(given.headers['countersign-exchange'])
    expect(intent).toMatchObject({
      ...{ transport: 'mesh', 'request.streamed': 'ndjson', 'attested.request': 'connector' },
    })
    expect(outcome).toMatchObject({ result: 'delivered', 'request.frames': 3, 'request.bytes': 21 })
    expect(outcome['request.transcript']).toBe(transcript(frames))
    const receipt = await receiptOf(given)
    const bytes = frames.map((frame) => Buffer.from(frame))
    expect(await compareFrames(receipt, 'request', bytes)).toBe('same')
    expect(await compareFrames(receipt, 'request', bytes.slice(0, 2))).toBe('other')
    expect(await compareMessage(receipt, 'request', bytes[0] ?? Buffer.of())).toBe('streamed')
  })

  test('is answered frame by frame, and its receipt has both transcripts', async () => {
    answer = echoLines
    const frames = numbered(4)
    const stream = await opened('talk', frames[0] ?? '')
    for (const [at, frame] of frames.entries()) {
      if (at > 0) stream.write(`${frame}\n`)
      await expect.poll(() => stream.body().split('\n').length - 1, deadline).toBe(at + 1)
    }
    stream.end()
    const given = await stream.response
    expect(given).toMatchObject({ status: 200, body: `${frames.join('\n')}\n` })
    const receipt = await receiptOf(given)
    const bytes = frames.map((frame) => Buffer.from(frame))
    expect(await compareFrames(receipt, 'request', bytes)).toBe('same')
    expect(await compareFrames(receipt, 'response', bytes)).toBe('forwarded')
    expect(await compareFrames(receipt, 'response', bytes.toReversed())).toBe('other')
  })
})

/** A stream of the agent `caller` by way of the gateway, over HTTP/2. */
function openForwarded(to: Name, path: string, type: string) {
  const session = connectHttp2(world.fabric.origin, { ca: world.fabric.rootPem })
  const head = { ':method': 'POST', ':path': `/agents/${to}${path}`, 'content-type': type }
  return readHttp2(session, { ...head, 'x-api-key': key, te: 'trailers' })
}

/** A call of gRPC by the agent `caller`, in HTTP/2 with prior knowledge to its own connector. */
async function openGrpc(to: Name, fields: OutgoingHttpHeaders = {}) {
  const { port, path } = await world.connectors.loopback('caller', to, '/echo.Echo/Talk')
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  return readHttp2(session, {
    ...{ ':method': 'POST', ':path': path, te: 'trailers' },
    ...{ 'content-type': 'application/grpc+proto', ...fields },
  })
}

/** A request of its own session, and what comes back. */
function readHttp2(session: ClientHttp2Session, head: OutgoingHttpHeaders) {
  session.on('error', () => undefined)
  const stream = session.request(head)
  const body: Buffer[] = []
  let trailers: Readonly<Record<string, unknown>> = {}
  stream.on('trailers', (given) => {
    trailers = given
  })
  const response = new Promise<Answer & { readonly trailers: typeof trailers }>(
    (resolve, reject) => {
      let fields: Record<string, unknown> = {}
      stream.on('response', (given) => {
        fields = given
      })
      stream.on('data', (chunk: Buffer) => body.push(chunk))
      stream.on('error', reject)
      stream.on('close', () => {
        session.close()
        const text = Buffer.concat(body).toString()
        if (stream.rstCode !== 0) return reject(new Error(`reset: ${stream.rstCode}`))
        resolve({ status: Number(fields[':status']), headers: fields, body: text, trailers })
      })
    },
  )
  response.catch(() => undefined)
  return { stream, response, body: () => Buffer.concat(body).toString() }
}

/** As `opened`: until the connector of the caller has the news of the receiver. */
async function openedGrpc(to: Name, first: Buffer) {
  for (;;) {
    const call = await openGrpc(to)
    call.stream.write(first)
    const isOpen = await Promise.race([
      call.response.then(() => false),
      expect
        .poll(() => taken.join(''), deadline)
        .toBe(first.toString())
        .then(() => true),
    ])
    if (isOpen) return call
  }
}

const message = (text: string): Buffer =>
  Buffer.concat([Buffer.of(0, 0, 0, 0, text.length), Buffer.from(text)])

describe(verifies(['stream:requests@mesh'], 'a call of gRPC through two connectors'), () => {
  test('goes both ways message by message, with its status in the trailers', async () => {
    const call = await openedGrpc('grpc', message('one'))
    await expect.poll(call.body, deadline).toBe(message('one').toString())
    call.stream.write(message('second'))
    await expect
      .poll(call.body, deadline)
      .toBe(Buffer.concat([message('one'), message('second')]).toString())
    call.stream.end()
    const given = await call.response
    expect(given).toMatchObject({ status: 200, trailers: { 'grpc-status': '0' } })
    expect(given.trailers).not.toHaveProperty('set-cookie')
    const { intent, outcome } = await recordOf(given.headers['countersign-exchange'])
    expect(intent).toMatchObject({ 'request.streamed': 'grpc', transport: 'mesh' })
    expect(outcome).toMatchObject({ result: 'completed', events: 2, 'request.frames': 2 })
    const receipt = await receiptOf(given)
    const bytes = ['one', 'second'].map((text) => Buffer.from(text))
    expect(await compareFrames(receipt, 'request', bytes)).toBe('same')
    expect(await compareFrames(receipt, 'response', bytes)).toBe('forwarded')
  })

  test('of one message, and one that ends in its head, pass as well', async () => {
    answerGrpc = (stream) => {
      stream.resume()
      const head = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }
      stream.on('end', () => stream.respond(head, { endStream: true }))
    }
    const call = await openGrpc('grpc')
    call.stream.end(message('one'))
    const given = await call.response
    expect(given.headers).toMatchObject({ ':status': 200, 'grpc-status': '5' })
    expect(given.body).toBe('')
  })

  test('that its receiver resets breaks off, and never ends with a status', async () => {
    answerGrpc = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.once('data', (chunk: Buffer) => {
        stream.write(chunk)
        setImmediate(() => stream.destroy(new Error('reset')))
      })
    }
    const call = await openGrpc('grpc')
    call.stream.write(message('one'))
    await expect(call.response).rejects.toThrow()
    expect(await lastOutcome()).toMatchObject({ result: 'broken', code: 'OUTCOME_UNKNOWN' })
  })

  test('whose caller resets it ends at its receiver as one that broke off', async () => {
    const call = await openedGrpc('grpc', message('one'))
    // `close` of Node would write an end of the stream before the reset.
    call.stream.destroy()
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    // A server would take what it has for the whole.
    expect(wire.ends()).toEqual(['reset'])
  })

  test('that ends within a message is not whole', async () => {
    const call = await openedGrpc('grpc', message('one'))
    call.stream.end(message('second').subarray(0, 7))
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    expect(wire.ends()).toEqual(['reset'])
    expect(taken.join('')).toBe(message('one').toString())
  })

  test('is refused where policy blocks what no detector reads', async () => {
    const call = await openGrpc('grpc-stop')
    call.stream.write(message('one'))
    expect((await call.response).headers['countersign-refusal']).toBe('CONTENT_UNSUPPORTED')
    expect(taken).toEqual([])
  })

  test.each([
    ['of a page', { origin: 'http://evil.example' }],
    ['for another host', { ':authority': 'evil.example' }],
    ['under another scheme', { ':scheme': 'https' }],
  ])('is refused %s', async (_, fields) => {
    const call = await openGrpc('grpc', fields)
    call.stream.write(message('one'))
    const { headers } = await call.response
    expect(['CREDENTIAL_REJECTED', 'MESSAGE_MALFORMED']).toContain(headers['countersign-refusal'])
    expect(taken).toEqual([])
  })
})

const requirement = ['stream:requests@gateway', 'stream:requests@mesh'] as const

describe(verifies(requirement, 'a stream by way of the gateway and a connector'), () => {
  const ndjson = 'application/x-ndjson'

  test('goes both ways frame by frame, and its head is countersigned', async () => {
    answer = echoLines
    const frames = numbered(3)
    const { stream, response, body } = openForwarded('answerable', '/upload', ndjson)
    for (const [at, frame] of frames.entries()) {
      stream.write(`${frame}\n`)
      await expect.poll(() => body().split('\n').length - 1, deadline).toBe(at + 1)
    }
    stream.end()
    const given = await response
    expect(given.body).toBe(`${frames.join('\n')}\n`)
    const receipt = await receiptOf(given)
    const bytes = frames.map((frame) => Buffer.from(frame))
    expect(await compareFrames(receipt, 'request', bytes)).toBe('same')
    expect(await compareFrames(receipt, 'response', bytes)).toBe('forwarded')
    expect(receipt.entries.at(-1)?.facts['attested.response']).toBe('callee')
  })

  test('of gRPC has its status in the trailers', async () => {
    const { stream, response, body } = openForwarded('grpc', '/echo.Echo/Talk', 'application/grpc')
    stream.write(message('one'))
    await expect.poll(body, deadline).toBe(message('one').toString())
    stream.end(message('second'))
    const given = await response
    expect(given).toMatchObject({ status: 200, trailers: { 'grpc-status': '0' } })
    const { outcome } = await recordOf(given.headers['countersign-exchange'])
    expect(outcome).toMatchObject({ result: 'completed', events: 2, 'request.frames': 2 })
  })

  test('ends at its receiver as one that broke off where a frame may not pass', async () => {
    const { stream, response } = openForwarded('stop', '/upload', ndjson)
    stream.write('{"n":0}\n')
    await lines(1)
    stream.write('{"pay":"4111 1111 1111 1111"}\n')
    expect((await response).headers).toMatchObject(refusal('STREAM_REJECTED', true))
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    expect(taken.join('')).toBe('{"n":0}\n')
  })

  test('ends at its receiver as one that broke off where its caller leaves', async () => {
    const { stream } = openForwarded('grpc', '/echo.Echo/Talk', 'application/grpc')
    stream.write(message('one'))
    await expect.poll(() => taken.join(''), deadline).toBe(message('one').toString())
    stream.destroy()
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    expect(wire.ends()).toEqual(['reset'])
  })

  test('whose receiver dies is of unknown outcome', async () => {
    answer = (incoming) => incoming.once('data', () => incoming.socket.destroy())
    const { stream, response } = openForwarded('talk', '/upload', ndjson)
    stream.write('{"n":0}\n')
    expect((await response).headers).toMatchObject(refusal('OUTCOME_UNKNOWN', true))
    stream.destroy()
  })
})

/** Its end where it is cut: the head of its response, or null where that had begun. */
async function endOf(stream: Open): Promise<Answer['headers'] | null> {
  return stream.response.then(
    ({ headers }) => headers,
    () => null,
  )
}

describe(verifies(['stream:requests@mesh'], 'through two connectors, a stream'), () => {
  test('is masked in its seventh frame as in its first', async () => {
    const frames = [...numbered(6), '{"mail":"ann@example.com"}']
    const stream = await opened('cover', frames[0] ?? '')
    stream.end(`${frames.slice(1).join('\n')}\n`)
    const given = await stream.response
    expect(given.status).toBe(200)
    expect(taken.join('')).not.toContain('ann@example.com')
    const { outcome } = await recordOf(given.headers['countersign-exchange'])
    expect(outcome).toMatchObject({ 'request.frames': 7, 'request.masked': 'email:1' })
    expect(outcome['request.transcript']).toBe(transcript(frames))
    const forwarded = taken.join('').trimEnd().split('\n')
    expect(outcome['request.forwarded-transcript']).toBe(transcript(forwarded))
  })

  test('ends at a frame that policy blocks, and its receiver may have acted', async () => {
    const stream = await opened('stop', '{"n":0}')
    stream.write('{"pay":"4111 1111 1111 1111"}\n')
    expect(await endOf(stream)).toMatchObject(refusal('STREAM_REJECTED', true))
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    expect(taken.join('')).toBe('{"n":0}\n')
    expect(await lastOutcome()).toMatchObject({
      ...{ result: 'cut', code: 'STREAM_REJECTED', 'request.frames': 1 },
      'request.transcript': transcript(['{"n":0}']),
    })
    stream.leave()
  })

  test('ends in both directions at a frame that policy blocks', async () => {
    answer = echoLines
    const stream = await opened('stop', '{"n":0}')
    await expect.poll(stream.body, deadline).toBe('{"n":0}\n')
    stream.write('{"pay":"4111 1111 1111 1111"}\n')
    expect(await endOf(stream)).toBeNull()
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    expect(await lastOutcome()).toMatchObject({ result: 'cut', 'request.frames': 1, events: 1 })
  })

  test.each([
    ['of its caller, while nothing flows', 'agent.quarantine', 'leaver', count],
    ['of its caller, while it is answered', 'agent.revoke', 'goner', echoLines],
  ])('is cut by the withdrawal %s', async (_, operation, name, answering) => {
    answer = answering
    await world.agent(name, ['caller'])
    const stream = await opened('talk', '{"n":0}', name)
    await world.admin(operation, { name, reason: 'told to' })
    const head = await endOf(stream)
    if (answering === count) {
      // Of two connectors, the receiver's may be the first to know, and its statement cannot be
      // recorded under a caller that may record nothing any more.
      expect(['WITHDRAWN', 'OUTCOME_UNKNOWN']).toContain(head?.['countersign-refusal'])
      expect(head?.['countersign-may-have-acted']).toBe('true')
    }
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    expect(await lastOutcome()).toMatchObject({ result: 'cut', code: 'WITHDRAWN' })
  })

  test('whose receiver dies is of unknown outcome', async () => {
    answer = (incoming) => incoming.once('data', () => incoming.socket.destroy())
    const stream = await opened('talk', '{"n":0}')
    expect(await endOf(stream)).toMatchObject(refusal('OUTCOME_UNKNOWN', true))
    expect(await lastOutcome()).toMatchObject({ result: 'unknown', 'request.frames': 1 })
    stream.leave()
  })

  test('whose receiver dies while it answers breaks off', async () => {
    answer = (incoming, response) => {
      echoLines(incoming, response)
      incoming.once('data', () => setImmediate(() => incoming.socket.destroy()))
    }
    const stream = await opened('talk', '{"n":0}')
    expect(await endOf(stream)).toBeNull()
    expect(await lastOutcome()).toMatchObject({ result: 'broken' })
  })

  test('whose caller leaves ends at its receiver as one that broke off', async () => {
    const stream = await opened('talk', '{"n":0}')
    stream.leave()
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    const outcome = await lastOutcome()
    expect(outcome).toMatchObject({ 'request.frames': 1 })
    expect(outcome['result']).not.toBe('delivered')
  })

  test('without its last chunk never looks whole', async () => {
    const { port, path } = await world.connectors.loopback('caller', 'talk', '/upload')
    const whole = await opened('talk', '{"n":0}')
    whole.end()
    await expect.poll(() => ended, deadline).toEqual(['whole'])
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    const head = [`POST ${path} HTTP/1.1`, 'Host: localhost', 'Content-Type: application/x-ndjson']
    socket.write(`${head.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"n":1}\n\r\n`)
    await lines(2)
    socket.end()
    await expect.poll(() => ended, deadline).toEqual(['whole', 'broken'])
    expect((await lastOutcome())['result']).not.toBe('delivered')
  })

  test('that its receiver does not read stops its caller', async () => {
    answer = (incoming) => incoming.pause()
    const stream = await open('large', 'application/octet-stream')
    let written = 0
    const chunk = Buffer.alloc(64 * 1024)
    const pour = (): void => {
      let hasSpace = true
      while (hasSpace && written < 64 * 1024 * 1024) {
        hasSpace = stream.write(chunk)
        written += chunk.length
      }
    }
    stream.onDrain(pour)
    pour()
    await expect.poll(() => seen, deadline).toHaveLength(1)
    let [before, quiet] = [0, 0]
    const isQuiet = (): number => {
      quiet = written === before ? quiet + 1 : 0
      before = written
      return quiet
    }
    await expect.poll(isQuiet, { ...deadline, interval: 50 }).toBeGreaterThan(10)
    expect(written).toBeLessThan(40 * 1024 * 1024)
    stream.leave()
  })
})

/** Streams `frames` and gives the refusal. */
async function refused(to: Name, frames: readonly string[], type?: string): Promise<Answer> {
  const stream = await open(to, type)
  for (const frame of frames) stream.write(frame)
  const given = await stream.response
  stream.leave()
  return given
}

describe(
  verifies(['stream:requests@mesh'], 'through two connectors, nothing is delivered of'),
  () => {
    test('a first frame that is blocked, or larger than a frame may be', async () => {
      const blocked = await refused('stop', ['{"pay":"4111 1111 1111 1111"}\n'])
      expect(blocked.headers['countersign-refusal']).toBe('CONTENT_BLOCKED')
      const large = await refused('talk', [`"${'x'.repeat(2_000)}`])
      expect(large.headers).toMatchObject(refusal('MESSAGE_TOO_LARGE', false))
      expect(large.headers['countersign-limit']).toContain('stream.frameBytes')
      expect(taken).toEqual([])
    })

    test.each([
      ['bytes without a form where policy requires masking', 'cover', 'application/octet-stream'],
      ['lines in another charset', 'cover', 'application/x-ndjson; charset=utf-7'],
      ['a stream whose answer is to be countersigned', 'answerable', undefined],
    ] as const)('%s', async (_, to, type) => {
      const given = await refused(to, ['{"n":0}\n', `"${'x'.repeat(1_015)}"\n`], type)
      expect(given.headers['countersign-refusal']).toBe('CONTENT_UNSUPPORTED')
      expect(taken).toEqual([])
    })

    test('a stream where policy requires a signature, which could not cover it', async () => {
      const given = await refused('strict', ['{"n":0}\n'])
      expect(given.headers).toMatchObject(refusal('SIGNATURE_MISSING', false))
      expect(taken).toEqual([])
    })

    test('a stream to a route that permits none, before it is whole', async () => {
      const stream = await open('whole')
      stream.write('{"n":0}\n')
      stream.write(`"${'x'.repeat(5 * 1024 * 1024)}`)
      expect((await stream.response).headers).toMatchObject(refusal('MESSAGE_TOO_LARGE', false))
      stream.leave()
      expect(taken).toEqual([])
    })
  },
)

/** The head of a stream that `caller` signs, as its connector would. */
function streamHead(to: Name, field: Draft['headers'] = [['countersign-body', 'streamed']]) {
  return signed(door(to), world.caller, { to, path: '/upload', headers: field ?? [], body: null })
}

/** The bytes of a stream behind a head. */
function framesAfter(head: Draft, frames: string, length?: number): Draft {
  const size = length === undefined ? ['Transfer-Encoding: chunked'] : [`Content-Length: ${length}`]
  const edit = (given: readonly string[]) => [
    ...given,
    'Content-Type: application/x-ndjson',
    ...size,
  ]
  const chunk = `${frames.length.toString(16)}\r\n${frames}\r\n0\r\n\r\n`
  return { ...head, edit, payload: [length === undefined ? chunk : frames] }
}

describe(verifies(['stream:requests@mesh'], 'at the connector of a receiver'), () => {
  test('the head of a stream is good once, whatever frames follow it', async () => {
    const head = await streamHead('talk')
    const first = await send(door('talk'), framesAfter(head, '{"n":0}\n'))
    expect(first.status).toBe(200)
    const again = await send(door('talk'), framesAfter(head, '{"n":1}\n'))
    expect(refusalOf(again)).toBe('MESSAGE_REPLAYED')
    expect(taken.join('')).toBe('{"n":0}\n')
  })

  test('the head of a stream is good at no other receiver', async () => {
    const head = await streamHead('talk')
    const given = await send(door('cover'), framesAfter(head, '{"n":0}\n'))
    expect(refusalOf(given)).toBe('SIGNATURE_REJECTED')
    expect(taken).toEqual([])
  })

  test('a signature without the statement of a stream covers none', async () => {
    const given = await send(door('talk'), framesAfter(await streamHead('talk', []), '{"n":0}\n'))
    expect(refusalOf(given)).toBe('SIGNATURE_REJECTED')
    expect(taken).toEqual([])
  })

  test.each([
    ['in another word', [['countersign-body', 'whole']]],
    [
      'twice',
      [
        ['countersign-body', 'streamed'],
        ['countersign-body', 'streamed'],
      ],
    ],
  ] as const)('a statement of a stream %s is none', async (_, field) => {
    const given = await send(
      door('talk'),
      framesAfter(await streamHead('talk', field), '{"n":0}\n'),
    )
    expect(['SIGNATURE_REJECTED', 'MESSAGE_MALFORMED']).toContain(refusalOf(given))
    expect(taken).toEqual([])
  })

  test('the statement of a stream does not stand for the digest of a whole request', async () => {
    const head = await streamHead('whole')
    const given = await send(door('whole'), framesAfter(head, '{"n":0}\n'))
    expect(refusalOf(given)).toBe('SIGNATURE_REJECTED')
    expect(taken).toEqual([])
  })

  test('a stream that ends short of its stated length never looks whole', async () => {
    const place = await door('talk').place('', '/')
    const head = await streamHead('talk')
    const socket = await dial({ port: place.port, credential: world.caller.credential() })
    socket.on('error', () => undefined)
    const headers = (head.headers ?? []).map(([name, value]) => `${name}: ${value}`)
    const text = [
      'POST /upload HTTP/1.1',
      `Host: ${place.authority}`,
      ...headers,
      'Content-Type: application/x-ndjson',
      'Content-Length: 100',
    ]
    socket.write(`${text.join('\r\n')}\r\n\r\n{"n":0}\n`)
    await lines(1)
    socket.end()
    await expect.poll(() => ended, deadline).toEqual(['broken'])
    expect((await lastOutcome())['result']).not.toBe('delivered')
  })
})
