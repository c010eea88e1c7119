import { PassThrough } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ROUTE_DEFAULTS } from '@countersign/protocol'
import { describe, expect, test, vi } from 'vitest'
import type { Admission } from '../../budgets/admission.ts'
import { BodyBudget } from '../../budgets/body-budget.ts'
import { OpenStreams } from '../../budgets/open-streams.ts'
import { Refusal } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import { lines } from '../../protocols/frame-codecs.ts'
import { FrameReader } from '../../protocols/frame-reader.ts'
import type { Head } from '../../protocols/reading/head.ts'
import { ArrivingBody } from './arriving-body.ts'
import type { NodeRequest } from './received-request.ts'
import { ArrivingFrames } from './request-frames.ts'

const mebibyte = 1024 * 1024

function arriving(
  bounds: Partial<(typeof ROUTE_DEFAULTS)['streams']> = {},
  length?: string,
  places = new OpenStreams(),
) {
  const request = Object.assign(new PassThrough(), { headers: {}, httpVersionMajor: 1 })
  const budget = new BodyBudget({
    name: 'limits.requestMemoryBytes',
    ...{ totalBytesMax: mebibyte, identityBytesMax: mebibyte, addressBytesMax: mebibyte },
    ...{ floorBytes: 0, timeoutMs: 1_000, now: () => performance.now() },
  })
  const share = budget.open('agent/caller', '127.0.0.1')
  const body = new ArrivingBody(request as unknown as NodeRequest)
  const headers = new Map(length === undefined ? [] : [['content-length', length] as const])
  const head = { method: 'POST', path: '/', authority: 'a', headers } as Head
  const streams = { ...ROUTE_DEFAULTS.streams, ...bounds }
  const admission = { share } as unknown as Admission
  const streamed = { codec: lines, bounds: streams, places }
  const opening = ArrivingFrames.open(body, head, admission, streamed)
  return { request, budget, share, opening }
}

async function opened(bounds: Partial<(typeof ROUTE_DEFAULTS)['streams']> = {}) {
  const { opening, ...rest } = arriving(bounds)
  rest.request.write('{"n":0}\n')
  const frames = await opening
  if (frames === null || frames instanceof Refusal) throw new Error('no first frame')
  return { ...rest, frames }
}

const textOf = (frame: unknown): string =>
  Buffer.from((frame as { data: Uint8Array }).data).toString()

test('nothing is read before it is asked for, and the end comes after the last frame', async () => {
  const { request, frames } = await opened()
  expect(textOf(frames.first)).toBe('{"n":0}')
  request.write('{"n":1}\n')
  request.end('{"n":2}')
  expect(request.readableFlowing).toBe(false)
  expect(textOf(await frames.next())).toBe('{"n":1}')
  expect(textOf(await frames.next())).toBe('{"n":2}')
  expect(await frames.next()).toBeNull()
})

test('a head without a frame is given up, and so is a frame that does not become whole', async () => {
  vi.useFakeTimers()
  try {
    const head = arriving()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await head.opening).toMatchObject({ code: 'OVERLOADED', limit: 'http.bodyMs, 1 s' })
    const { request, frames } = await opened({ idleMs: 300 })
    const next = frames.next()
    request.write('{')
    await vi.advanceTimersByTimeAsync(200)
    request.write('"')
    await vi.advanceTimersByTimeAsync(100)
    expect(await next).toMatchObject({ code: 'OVERLOADED', limit: 'stream.idleMs, 300 ms' })
  } finally {
    vi.useRealTimers()
  }
})

test('a request without a frame is an empty one', async () => {
  const { request, opening } = arriving()
  request.end('\n\n')
  expect(await opening).toBeNull()
})

test('a size above the limit is refused by the head, and by what comes', async () => {
  const stated = await arriving({ bytes: 1_024 }, '2048').opening
  expect(stated).toMatchObject({ code: 'MESSAGE_TOO_LARGE', limit: 'stream.bytes, 1 KiB' })
  const { request, frames } = await opened({ bytes: 1_024 })
  request.write(`"${'x'.repeat(1_020)}"\n`)
  expect(await frames.next()).toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
})

test('a request that breaks off is never one that has ended', async () => {
  const { request, frames } = await opened()
  const next = frames.next()
  request.destroy()
  await expect(next).rejects.toThrow('broke off')
  await expect(frames.next()).rejects.toThrow('broke off')
})

test('bytes are counted while they are held, and not once it is stopped', async () => {
  const { request, share, frames } = await opened()
  const idle = share.bytes
  const next = frames.next()
  request.write(`"${'x'.repeat(10_000)}`)
  await expect.poll(() => share.bytes).toBeGreaterThan(idle + 9_000)
  frames.stop()
  expect(share.bytes).toBeLessThan(idle + 100)
  void next
})

test('the first frame is counted until the end, and given up without being asked for more', async () => {
  const { request, share, opening } = arriving()
  const idle = share.bytes
  request.write(`"${'x'.repeat(10_000)}"\n`)
  const frames = await opening
  if (frames === null || frames instanceof Refusal) throw new Error('no first frame')
  const next = frames.next()
  await nextTurn()
  expect(share.bytes).toBeGreaterThan(idle + 9_000)
  let lost: Refusal | null = null
  frames.onEvicted((refusal) => {
    lost = refusal
  })
  share.evict(new Refusal('OVERLOADED', 'the memory is needed elsewhere'))
  expect(lost).toMatchObject({ code: 'OVERLOADED' })
  expect(await next).toMatchObject({ code: 'OVERLOADED' })
  const other = await opened()
  const before = other.share.bytes
  other.frames.stop()
  expect(other.share.bytes).toBeLessThan(before)
})

describe('a thousand frames in one piece leave turns of the event loop to others', () => {
  const flood = Buffer.from('1\n'.repeat(1_000))

  /** The turns that the event loop makes until `next` has given all of them. */
  async function turnsOf(next: () => Promise<unknown>): Promise<number> {
    let [turns, isOver] = [0, false]
    const reading = (async () => {
      for (let i = 0; i < 1_000; i++) await next()
      isOver = true
    })()
    while (!isOver) {
      await nextTurn()
      turns += 1
    }
    await reading
    return turns
  }

  test('as a request', async () => {
    const { request, frames } = await opened()
    request.write(flood)
    expect(await turnsOf(() => frames.next())).toBeGreaterThanOrEqual(15)
    frames.stop()
  })

  test('as a response', async () => {
    const { share } = await opened()
    const chunks = (async function* () {
      yield flood
    })()
    const reader = new FrameReader(chunks, share, lines.open(1_024))
    expect(await turnsOf(() => reader.next())).toBeGreaterThanOrEqual(15)
  })
})

test('a first frame is counted until it was forwarded, and its digest stays', async () => {
  const { request, budget, share, opening } = arriving()
  const idle = share.bytes
  const line = `"${'x'.repeat(10_000)}"`
  request.write(`${line}\n`)
  const frames = await opening
  if (frames === null || frames instanceof Refusal) throw new Error('no first frame')
  expect(share.bytes).toBeGreaterThan(idle + 20_000)
  frames.dropFirst()
  // Its writer may keep it until it gets the next one.
  expect(share.bytes).toBeLessThan(idle + 11_000)
  expect(frames.firstBytes).toHaveLength(0)
  expect(frames.firstDigest).toEqual(sha256(Buffer.from(line)))
  frames.stop()
  expect(share.bytes).toBe(idle)
  share.close()
  expect(budget.totalBytes).toBe(0)
})

test('a stream whose reader asks for nothing more is told to make room', async () => {
  const { share, frames } = await opened()
  const heard: Refusal[] = []
  frames.onEvicted((refusal) => heard.push(refusal))
  share.evict(new Refusal('OVERLOADED', 'full'))
  expect(heard).toMatchObject([{ code: 'OVERLOADED' }])
  frames.onEvicted((refusal) => heard.push(refusal))
  expect(heard).toHaveLength(2)
})

test('a caller has as many streams open as it may, also of requests that break off', async () => {
  const places = new OpenStreams(2)
  const streams = [arriving({}, undefined, places), arriving({}, undefined, places)] as const
  const limited = { code: 'RATE_LIMITED', limit: 'stream.open, 2 per identity' }
  expect(await arriving({}, undefined, places).opening).toMatchObject(limited)
  streams[0].request.destroy()
  await expect(streams[0].opening).rejects.toThrow('broke off')
  streams[1].request.write('{"n":0}\n')
  const frames = await streams[1].opening
  expect(places.openOf('agent/caller')).toBe(1)
  if (frames === null || frames instanceof Refusal) throw new Error('no first frame')
  for (const _ of [1, 2]) frames.stop()
  expect(places.openOf('agent/caller')).toBe(0)
})
