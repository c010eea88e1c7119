import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { pemOf } from '../harness/raw-http.ts'
import { verifies } from '../requirements.ts'

interface Answer {
  readonly status: unknown
  readonly refusal: unknown
  readonly body: string
}

/** The whole response of one stream; a stream that was cut has no status or half a body. */
function ask(session: ClientHttp2Session, path: string, body: Buffer): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/json',
    })
    let head: Record<string, unknown> = {}
    const parts: Buffer[] = []
    stream.on('response', (headers) => {
      head = headers
    })
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('error', () => undefined)
    stream.on('close', () =>
      resolve({
        status: head[':status'],
        refusal: head['countersign-refusal'],
        body: Buffer.concat(parts).toString(),
      }),
    )
    stream.end(body)
  })
}

const allowed = 5

/** Over HTTP/2 the connection ended before the answer was written. */
const flooded: Attempt = () =>
  inOwnWorld({ limits: { refusalsPerMinute: allowed }, receivers: [] }, async (world) => {
    const connect = (): ClientHttp2Session => {
      const session = connectHttp2(world.fabric.origin, { rejectUnauthorized: false })
      return session.on('error', () => undefined)
    }
    const guess = (session: ClientHttp2Session) =>
      ask(session, '/v1/enroll', Buffer.from('{"guess":1}'))
    for (let done = 0; done < 2 * allowed; done++) {
      const session = connect()
      await guess(session)
      session.destroy()
    }
    const session = connect()
    const answers = await Promise.all([guess(session), guess(session), guess(session)])
    for (const { status, refusal, body } of answers) {
      expect({ status, refusal }).toEqual({ status: 429, refusal: 'RATE_LIMITED' })
      expect(JSON.parse(body)).toMatchObject({ code: 'RATE_LIMITED' })
    }
    session.destroy()
  })

/** More than the limit, and more than the windows of the stream let through before the answer. */
const tooLarge: Attempt = async (world) => {
  const { path } = await world.gateway.place('echo', '/')
  const session = connectHttp2(world.fabric.origin, {
    ...pemOf(world.caller.credential()),
    rejectUnauthorized: false,
  })
  const { status, refusal, body } = await ask(session, path, Buffer.alloc(1024 * 1024, 0x20))
  expect({ status, refusal }).toEqual({ status: 413, refusal: 'MESSAGE_TOO_LARGE' })
  expect(JSON.parse(body)).toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
  session.destroy()
}

attack(
  verifies(
    ['serve:answered@gateway', 'serve:answered@mesh'],
    'a refusal that ends its connection arrives whole',
  ),
  {
    gateway: {
      'of one attempt too many, over HTTP/2': flooded,
      'of a body that is too large, over HTTP/2': tooLarge,
    },
    mesh: 'connectors speak HTTP/1.1: tested by bodies and heads without end',
    queue: 'members come in by the gateway',
  },
)
