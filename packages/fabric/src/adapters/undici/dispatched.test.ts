import { describe, expect, test } from 'vitest'
import { Withdrawal } from '../../lib/refusal.ts'
import { Dispatched } from './dispatched.ts'

/** Stands for undici: what was asked of the connection, in order. */
function connection() {
  const asked: string[] = []
  return {
    asked,
    abort: (cause: Error) => void asked.push(`abort ${cause.name}`),
    pause: () => void asked.push('pause'),
    resume: () => void asked.push('resume'),
  }
}

const endpoint = { url: 'http://127.0.0.1:1', spiffeId: null }
const account = { take: () => undefined, give: () => undefined }

function started(signal = new AbortController().signal) {
  const dispatched = new Dispatched({ method: 'GET', signal, account }, endpoint)
  const controller = connection()
  dispatched.onRequestStart(controller)
  return { dispatched, controller }
}

const chunk = (...bytes: number[]) => Uint8Array.from(bytes)

describe('a dispatched request', () => {
  test('answers with the head, every value of a repeated field, and the body in order', async () => {
    const { dispatched, controller } = started()
    dispatched.onResponseStart(controller, 103, { link: '</early>' })
    dispatched.onResponseStart(controller, 201, { 'content-type': 'text/plain', 'x-a': ['1', '2'] })
    dispatched.onResponseData(controller, chunk(1))
    const response = await dispatched.response
    expect(response.status).toBe(201)
    expect(response.headers).toEqual([
      ['content-type', 'text/plain'],
      ['x-a', '1'],
      ['x-a', '2'],
    ])
    const read: number[] = []
    const reading = (async () => {
      for await (const bytes of response.body) read.push(...bytes)
    })()
    dispatched.onResponseData(controller, chunk(2, 3))
    await Promise.resolve()
    dispatched.onResponseData(controller, chunk(4))
    dispatched.onResponseEnd()
    await reading
    expect(read).toEqual([1, 2, 3, 4])
    expect(controller.asked).toEqual([])
  })

  test('reads no further while a body waits for its reader', async () => {
    const { dispatched, controller } = started()
    dispatched.onResponseStart(controller, 200, {})
    dispatched.onResponseData(controller, new Uint8Array(40_000))
    expect(controller.asked).toEqual([])
    dispatched.onResponseData(controller, new Uint8Array(40_000))
    expect(controller.asked).toEqual(['pause'])
    await dispatched.next()
    expect(controller.asked).toEqual(['pause', 'resume'])
  })

  test('rejects when the connection fails before the head', async () => {
    const { dispatched, controller } = started()
    dispatched.onResponseError(controller, new Error('refused'))
    await expect(dispatched.response).rejects.toThrow('refused')
  })

  test('breaks the body, with what was not read yet, when the connection fails after the head', async () => {
    const { dispatched, controller } = started()
    dispatched.onResponseStart(controller, 200, {})
    dispatched.onResponseData(controller, chunk(1))
    dispatched.onResponseError(controller, new Error('reset'))
    await dispatched.response
    await expect(dispatched.next()).rejects.toThrow('reset')
  })

  test('rejects a reader that waits when the connection fails', async () => {
    const { dispatched, controller } = started()
    dispatched.onResponseStart(controller, 200, {})
    const waiting = dispatched.next()
    dispatched.onResponseError(controller, new Error('reset'))
    await expect(waiting).rejects.toThrow('reset')
  })

  test('gives up the connection when a reader stops early, and not when it read to the end', async () => {
    const early = started()
    early.dispatched.onResponseStart(early.controller, 200, {})
    early.dispatched.onResponseData(early.controller, chunk(1))
    for await (const _ of (await early.dispatched.response).body) break
    expect(early.controller.asked).toEqual(['abort AbortError'])
    const late = started()
    late.dispatched.onResponseStart(late.controller, 200, {})
    late.dispatched.onResponseEnd()
    const { discard } = await late.dispatched.response
    discard()
    expect(late.controller.asked).toEqual([])
  })

  test('is given up by its signal, before it started, before the head and in the body', async () => {
    const gone = AbortSignal.abort()
    expect(started(gone).controller.asked).toEqual(['abort AbortError'])

    const leaving = new AbortController()
    const early = started(leaving.signal)
    const late = started(leaving.signal)
    late.dispatched.onResponseStart(late.controller, 200, {})
    const waiting = late.dispatched.next()
    leaving.abort()
    expect(early.controller.asked).toEqual(['abort AbortError'])
    expect(late.controller.asked).toEqual(['abort AbortError'])
    await expect(waiting).rejects.toThrow('aborted')
  })

  test('ignores a signal that is given once the answer is there', () => {
    const leaving = new AbortController()
    const { dispatched, controller } = started(leaving.signal)
    dispatched.onResponseStart(controller, 200, {})
    dispatched.onResponseEnd()
    leaving.abort()
    expect(controller.asked).toEqual([])
  })

  test('is not sent by a caller that lost the right while it waited for a connection', async () => {
    const refusal = new Withdrawal('policy-denies', 'no more')
    const signal = new AbortController().signal
    const dispatched = new Dispatched(
      { method: 'GET', signal, account, still: () => refusal },
      endpoint,
    )
    const aborted: Error[] = []
    const controller = { ...connection(), abort: (cause: Error) => void aborted.push(cause) }
    dispatched.onRequestStart(controller)
    expect(aborted).toMatchObject([{ name: 'WithdrawnError', refusal }])
  })

  test('is not sent to where its route no longer leads', async () => {
    const asked: unknown[] = []
    const leadsTo = (given: unknown) => {
      asked.push(given)
      return false
    }
    const signal = new AbortController().signal
    const dispatched = new Dispatched({ method: 'GET', signal, account, leadsTo }, endpoint)
    const abort = (cause: Error) => dispatched.onResponseError(null, cause)
    dispatched.onRequestStart({ ...connection(), abort })
    await expect(dispatched.response).rejects.toMatchObject({ progress: 'not-sent' })
    expect(asked).toEqual([endpoint])
  })

  test('gives up a response in single bytes, and not a long one in events', async () => {
    const { dispatched, controller } = started()
    dispatched.onResponseStart(controller, 200, {})
    for (let i = 0; i < 100_000; i++) dispatched.onResponseData(controller, new Uint8Array(16))
    expect((await dispatched.next()).value).toHaveLength(1_600_000)
    const small = started()
    small.dispatched.onResponseStart(small.controller, 200, {})
    for (let i = 0; i < 20_000; i++) small.dispatched.onResponseData(small.controller, chunk(1))
    expect(small.controller.asked.at(-1)).toBe('abort UpstreamError')
    await expect(small.dispatched.next()).rejects.toMatchObject({
      limit: 'upstream.pieces, 16384',
      progress: 'sent',
    })
  })

  test('takes a reset for no end of a body that has no other', async () => {
    const lane = {
      ...{ requests: 0, bytesRead: 0, unsentBytes: () => 0, failure: null as Error | null },
      ...{ framesBodies: false, isTls: false },
      ...{ fault: () => null, look: () => undefined, close: () => undefined },
    }
    const dispatched = new Dispatched(
      { method: 'GET', signal: new AbortController().signal, account },
      endpoint,
    )
    dispatched.takeLane(() => lane)
    const controller = connection()
    dispatched.onRequestStart(controller)
    dispatched.onResponseStart(controller, 200, {})
    dispatched.onResponseData(controller, chunk(1))
    lane.failure = new Error('reset')
    dispatched.onResponseEnd()
    await expect(dispatched.next()).rejects.toThrow('reset')
  })

  test('counts the head, what waits, and what the reader has, until it asks for more', async () => {
    let held = 0
    const counted = {
      take: (bytes: number) => void (held += bytes),
      give: (bytes: number) => void (held -= bytes),
    }
    const dispatched = new Dispatched(
      { method: 'GET', signal: new AbortController().signal, account: counted },
      endpoint,
    )
    const controller = connection()
    dispatched.onRequestStart(controller)
    dispatched.onResponseStart(controller, 200, { 'x-a': '12345' })
    expect(held).toBe(8)
    dispatched.onResponseData(controller, new Uint8Array(100))
    expect(held).toBe(108)
    await dispatched.next()
    expect(held).toBe(108)
    const next = dispatched.next()
    expect(held).toBe(8)
    dispatched.onResponseData(controller, new Uint8Array(50))
    await next
    expect(held).toBe(58)
    dispatched.onResponseEnd()
    expect((await dispatched.next()).done).toBe(true)
    expect(held).toBe(8)
  })
})
