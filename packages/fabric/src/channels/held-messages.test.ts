import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { HeldMessages } from './held-messages.ts'
import { LeaseMemory } from './lease-memory.ts'

const place = { channel: 'orders', offset: 1 }

test('the messages that are read back for settlements are bounded, however many callers ask at once', async () => {
  const memory = new LeaseMemory()
  let reading = 0
  let most = 0
  const held = new HeldMessages(
    {
      async find() {
        reading += 1
        most = Math.max(most, reading)
        await new Promise((resolve) => setImmediate(resolve))
        reading -= 1
        return null
      },
    },
    memory,
  )
  const answers = await Promise.all(
    Array.from({ length: 400 }, (_, at) => held.find({ ...place, offset: at }, 'a')),
  )
  expect(most).toBeGreaterThan(0)
  // A message of two mebibytes and its copy, in a share of 32 MiB.
  expect(most).toBeLessThanOrEqual(8)
  expect(answers.filter((answer) => answer === null).length).toBeGreaterThanOrEqual(256)
  expect(answers.some((answer) => answer instanceof Refusal)).toBe(true)
  expect(memory.totalBytes).toBe(0)
})

test('a read that fails gives its room back', async () => {
  const memory = new LeaseMemory()
  const held = new HeldMessages({ find: () => Promise.reject(new Error('disk')) }, memory)
  await expect(held.find(place, 'a')).rejects.toThrow('disk')
  expect(memory.totalBytes).toBe(0)
})
