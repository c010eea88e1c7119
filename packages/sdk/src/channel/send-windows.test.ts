import { SEALED_BATCH_MAX } from '@countersign/protocol'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { faultOf } from '../../../../test/harness/sdk-lab.ts'
import { RefusedError } from '../connection/refused.ts'
import type { SentMessage } from './channel-sender.ts'
import type { SealRequest } from './seal.ts'
import { SendWindows } from './send-windows.ts'

const order = (body: string | Uint8Array, labels: readonly string[] = []): SealRequest => ({
  body: typeof body === 'string' ? Buffer.from(body) : body,
  contentType: 'text/plain',
  labels,
  orderingKey: null,
  idempotencyKey: null,
  lifetimeMs: 1000,
  messageId: null,
})

const refused = (code: 'MESSAGE_TOO_LARGE' | 'MESSAGE_MALFORMED' | 'NOT_PERMITTED') =>
  new RefusedError(code, { known: true, status: 400, exchange: null, retryAfterMs: null })

const turn = () => new Promise((resolve) => setImmediate(resolve))

interface Request {
  readonly bodies: readonly string[]
  readonly orders: readonly SealRequest[]
  readonly answer: () => void
}

let requests: Request[] = []
let holds = false
let refusalOf: (bodies: readonly string[]) => RefusedError | null = () => null
let windows: SendWindows

beforeEach(() => {
  requests = []
  holds = false
  refusalOf = () => null
  windows = new SendWindows(async (orders) => {
    const bodies = orders.map(({ body }) => Buffer.from(body).toString())
    const { promise, resolve } = Promise.withResolvers<void>()
    requests.push({ bodies, orders, answer: resolve })
    if (holds) await promise
    const refusal = refusalOf(bodies)
    if (refusal !== null) throw refusal
    return orders.map(
      (_, i): SentMessage => ({
        ...{ messageId: 'msg_018bcfe568007abc8def0123456789ab', state: 'stored', exchange: null },
        offset: i + 1,
      }),
    )
  })
})
afterEach(() => {
  for (const { answer } of requests) answer()
})

const bodiesOf = () => requests.map(({ bodies }) => bodies)

describe('what is sent', () => {
  test('in one turn is one window, in its order', async () => {
    const sent = await Promise.all(['a', 'b', 'c'].map((body) => windows.send(order(body))))
    expect(bodiesOf()).toEqual([['a', 'b', 'c']])
    expect(sent.map(({ offset }) => offset)).toEqual([1, 2, 3])
  })

  test('under other labels is another window', async () => {
    const [a, b] = [
      ['x', 'y'],
      ['x', 'z'],
    ]
    await Promise.all([
      windows.send(order('1', a)),
      windows.send(order('2', b)),
      windows.send(order('3', a)),
    ])
    expect(bodiesOf()).toEqual([['1', '3'], ['2']])
  })

  test('while four windows are under way waits, and goes together when one of them returns', async () => {
    holds = true
    for (const body of ['1', '2', '3', '4', '5', '6']) {
      void windows.send(order(body))
      await turn()
    }
    expect(bodiesOf()).toEqual([['1'], ['2'], ['3'], ['4']])
    requests[1]?.answer()
    await turn()
    await turn()
    expect(bodiesOf().slice(4)).toEqual([['5', '6']])
  })

  test('in more messages than a signature covers, or more bytes than a request takes, is more windows', async () => {
    const many = Array.from({ length: SEALED_BATCH_MAX + 1 }, (_, i) => windows.send(order(`${i}`)))
    await Promise.all(many)
    expect(bodiesOf().map(({ length }) => length)).toEqual([SEALED_BATCH_MAX, 1])
    requests = []
    const large = new Uint8Array(1024 * 1024)
    await Promise.all(Array.from({ length: 5 }, () => windows.send(order(large))))
    // Each may be padded to twice its size.
    expect(bodiesOf().map(({ length }) => length)).toEqual([3, 2])
  })

  test('beyond what may wait is refused, and nothing else is lost', async () => {
    holds = true
    const quarter = new Uint8Array(64 * 1024 * 1024)
    for (let i = 0; i < 4; i++) void windows.send(order(quarter))
    expect(await faultOf(windows.send(order('x')))).toBe('BACKLOG_FULL')
    await turn()
    void windows.send(order('y'))
    await turn()
    expect(requests).toHaveLength(4)
    requests[0]?.answer()
    await turn()
    await turn()
    expect(bodiesOf().slice(4)).toEqual([['y']])
  })
})

describe('a refusal', () => {
  test.each(['MESSAGE_TOO_LARGE', 'MESSAGE_MALFORMED'] as const)(
    '%s of one message is that message’s alone',
    async (code) => {
      refusalOf = (bodies) => (bodies.includes('bad') ? refused(code) : null)
      const bodies = ['a', 'b', 'c', 'bad', 'e', 'f', 'g']
      const settled = await Promise.allSettled(bodies.map((body) => windows.send(order(body))))
      expect(settled.map(({ status }) => status)).toEqual(
        bodies.map((body) => (body === 'bad' ? 'rejected' : 'fulfilled')),
      )
      expect(settled[3]).toMatchObject({ reason: { code } })
      const taken = requests.filter(({ bodies: asked }) => !asked.includes('bad'))
      expect(taken.flatMap(({ bodies: asked }) => asked).toSorted()).toEqual(
        bodies.filter((body) => body !== 'bad'),
      )
    },
  )

  test('of the caller is that of the whole window, and is not asked for again', async () => {
    refusalOf = () => refused('NOT_PERMITTED')
    const settled = await Promise.allSettled([windows.send(order('a')), windows.send(order('b'))])
    for (const one of settled) expect(one).toMatchObject({ reason: { code: 'NOT_PERMITTED' } })
    expect(requests).toHaveLength(1)
  })
})
