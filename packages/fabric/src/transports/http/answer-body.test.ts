import { ArrivingBytes } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerBudget } from '../../budgets/answer-budget.ts'
import { systemClock } from '../../lib/clock.ts'
import { giveBackGarbage } from '../../lib/heap.ts'
import type { UpstreamResponse } from '../../routes/upstream.ts'
import { readBodyOf } from './answer-body.ts'

/** Pieces of one byte, each with its own memory, and how many of them are still there. */
function singleBytes(count: number) {
  const made: WeakRef<Uint8Array>[] = []
  function* pieces(): Generator<Uint8Array> {
    for (let turn = 0; turn < count; turn++) {
      const piece = Uint8Array.of(turn & 0xff)
      made.push(new WeakRef(piece))
      yield piece
    }
  }
  return {
    pieces,
    async kept(): Promise<number> {
      // A weak reference holds what it points to until the turn that made it is over.
      await new Promise((resolve) => setImmediate(resolve))
      await giveBackGarbage()
      return made.filter((piece) => piece.deref() !== undefined).length
    },
  }
}

describe('ArrivingBytes', () => {
  test('holds what came, however it was cut, in no more than twice its memory', () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 40 })
    fc.assert(
      fc.property(pieces, (given) => {
        const bytes = new ArrivingBytes(10_000)
        for (const piece of given) expect(bytes.add(piece)).toBe(true)
        const whole = Uint8Array.from(given.flatMap((piece) => [...piece]))
        expect(bytes.length).toBe(whole.length)
        const taken = bytes.take()
        expect([...taken]).toEqual([...whole])
        expect(taken.buffer.byteLength).toBeLessThanOrEqual(2 * whole.length)
        expect(bytes.take()).toHaveLength(0)
      }),
    )
  })

  test('never writes into what it was given', () => {
    const given = [Uint8Array.of(1, 2, 3), Uint8Array.of(4), Uint8Array.of(5, 6)]
    const bytes = new ArrivingBytes(100)
    for (const piece of given) bytes.add(piece)
    bytes.take().fill(9)
    expect(given.map((piece) => [...piece])).toEqual([[1, 2, 3], [4], [5, 6]])
  })

  test('a body of one piece is not copied', () => {
    const bytes = new ArrivingBytes(100)
    const piece = new Uint8Array(100)
    bytes.add(piece)
    expect(bytes.take().buffer).toBe(piece.buffer)
  })

  test('a small part of a large read does not keep the read', () => {
    const bytes = new ArrivingBytes(100)
    bytes.add(new Uint8Array(65_536).subarray(7, 8))
    expect(bytes.take().buffer.byteLength).toBe(1)
  })

  test('lets go of everything beyond the limit, and takes nothing more', () => {
    const bytes = new ArrivingBytes(3)
    expect([bytes.add(new Uint8Array(3)), bytes.add(new Uint8Array(1))]).toEqual([true, false])
    expect(bytes.add(new Uint8Array(0))).toBe(false)
    expect(bytes.take().buffer.byteLength).toBe(0)
  })

  test('no piece is kept once it was read', async () => {
    const { pieces, kept } = singleBytes(1000)
    const bytes = new ArrivingBytes(1000)
    for (const piece of pieces()) bytes.add(piece)
    expect(await kept()).toBeLessThan(10)
    expect(bytes.length).toBe(1000)
  })
})

const share = () =>
  answerBudget({
    ...{ name: 'limits.responseMemoryBytes', totalBytesMax: 1_000_000, bodyBytesMax: 1_000 },
    ...{ receiverPart: 1, callerPart: 1, clock: systemClock },
  }).open('receiver', 'caller')

describe('readBodyOf', () => {
  function answering(body: AsyncIterable<Uint8Array>) {
    const seen = { discarded: 0 }
    const discard = () => void seen.discarded++
    const response: UpstreamResponse = { status: 200, headers: [], body, discard }
    return { response, seen }
  }

  test('no chunk of an answer is kept once it was read', async () => {
    const { pieces, kept } = singleBytes(1000)
    let keptBeforeTheEnd = Number.POSITIVE_INFINITY
    async function* body(): AsyncGenerator<Uint8Array> {
      yield* pieces()
      keptBeforeTheEnd = await kept()
    }
    const { response, seen } = answering(body())
    expect(await readBodyOf(response, 1000, share())).toHaveLength(1000)
    expect(keptBeforeTheEnd).toBeLessThan(10)
    expect(seen.discarded).toBe(0)
  })

  test('gives up an answer beyond the limit', async () => {
    async function* body(): AsyncGenerator<Uint8Array> {
      for (;;) yield await Promise.resolve(new Uint8Array(10))
    }
    const { response, seen } = answering(body())
    expect(await readBodyOf(response, 1000, share())).toMatchObject({
      ...{ code: 'RESPONSE_REJECTED', limit: 'limits.bodyBytes, 1000 bytes' },
    })
    expect(seen.discarded).toBe(1)
  })
})
