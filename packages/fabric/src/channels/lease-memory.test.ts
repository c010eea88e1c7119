import { SEALED_BYTES_MAX } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { type Hold, LeaseMemory } from './lease-memory.ts'

const mebibyte = 1024 * 1024
const limits = {
  totalBytesMax: 128 * mebibyte,
  identityBytesMax: 32 * mebibyte,
  waitingMax: 256,
  waitMs: 20,
}

function opened(answer: Hold | Refusal): Hold {
  if (answer instanceof Refusal) throw new Error(answer.detail)
  return answer
}

test('a reservation lets at least one message be read, and less when others are being read', async () => {
  const memory = new LeaseMemory(limits)
  const read = async () => opened(await memory.reserve('a', 8 * mebibyte)).readBytesMax
  const sizes = [await read(), await read(), await read()]
  expect(sizes).toEqual(sizes.toSorted((a, b) => b - a))
  expect(sizes[0]).toBe(8 * mebibyte)
  for (const size of sizes) expect(size).toBeGreaterThanOrEqual(SEALED_BYTES_MAX)
})

test('a request that finds no memory while others are read waits for them', async () => {
  const memory = new LeaseMemory({ ...limits, waitMs: 60_000 })
  const reading: Hold[] = []
  const waits = Array.from({ length: 50 }, async () => {
    const hold = opened(await memory.reserve('a', 8 * mebibyte))
    reading.push(hold)
  })
  let served = 0
  while (served < 50) {
    await new Promise((resolve) => setImmediate(resolve))
    expect(memory.totalBytes).toBeLessThanOrEqual(limits.identityBytesMax)
    for (const hold of reading.splice(0)) {
      // Nothing was found.
      hold.keep(0)
      served += 1
    }
  }
  await Promise.all(waits)
  expect(memory.totalBytes).toBe(0)
})

test('parallel requests of one identity share its room, as long as their responses leave', async () => {
  const memory = new LeaseMemory({ ...limits, waitMs: 60_000 })
  const refusals = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const hold = opened(await memory.reserve('a', 8 * mebibyte))
      hold.keep(8 * mebibyte)
      expect(memory.totalBytes).toBeLessThanOrEqual(limits.identityBytesMax)
      await new Promise((resolve) => setImmediate(resolve))
      hold.release()
      return null
    }),
  )
  expect(refusals).toHaveLength(100)
  expect(memory.totalBytes).toBe(0)
})

test('an identity without space for responses that have not left is refused, and others are served', async () => {
  const memory = new LeaseMemory(limits)
  const held: Hold[] = []
  for (;;) {
    const answer = await memory.reserve('a', 8 * mebibyte)
    if (answer instanceof Refusal) {
      expect(answer).toMatchObject({ code: 'OVERLOADED', limit: 'queue.leaseMemoryBytes, 128 MiB' })
      break
    }
    answer.keep(4 * mebibyte)
    held.push(answer)
  }
  const other = opened(await memory.reserve('b', 8 * mebibyte))
  other.release()
  held[0]?.release()
  opened(await memory.reserve('a', 8 * mebibyte)).release()
  for (const hold of held) hold.release()
  expect(memory.totalBytes).toBe(0)
})

test('more of one kind than there ever is room for is refused, not waited for', async () => {
  const memory = new LeaseMemory(limits)
  expect(await memory.reserveExactly('a', 33 * mebibyte)).toBeInstanceOf(Refusal)
  expect(memory.totalBytes).toBe(0)
})

test('for any reservations and releases, the bounds hold, and every caller is answered', async () => {
  const step = fc.record({
    identity: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
    most: fc.nat(10 * mebibyte),
    kept: fc.double({ min: 0, max: 1.2, noNaN: true }),
    isReleased: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const memory = new LeaseMemory(limits)
      const bytesOf = new Map<string, number>()
      const open: Hold[] = []
      let answered = 0
      const all = steps.map(async ({ identity, most, kept, isReleased }) => {
        const hold = await memory.reserve(identity, most)
        answered += 1
        expect(memory.totalBytes).toBeLessThanOrEqual(limits.totalBytesMax)
        if (hold instanceof Refusal) return
        await new Promise((resolve) => setImmediate(resolve))
        hold.keep(Math.floor(hold.readBytesMax * 2 * kept))
        hold.keep(Math.floor(hold.readBytesMax))
        bytesOf.set(identity, (bytesOf.get(identity) ?? 0) + hold.readBytesMax * 2)
        expect(bytesOf.get(identity)).toBeLessThanOrEqual(limits.identityBytesMax)
        if (!isReleased) {
          open.push(hold)
          return
        }
        bytesOf.set(identity, (bytesOf.get(identity) ?? 0) - hold.readBytesMax * 2)
        hold.release()
        hold.release()
      })
      await Promise.all(all)
      expect(answered).toBe(steps.length)
      for (const hold of open) hold.release()
      expect(memory.totalBytes).toBe(0)
    }),
    { numRuns: 50 },
  )
})
