import { expect, test } from 'vitest'
import { readAll } from './body.ts'
import { answerMemoryOf, BodyMemory } from './body-memory.ts'

const fabric = ['spiffe://a.test/fabric/gateway', true] as const

test('agents that connect directly share half of the memory, each a quarter', () => {
  const memory = new BodyMemory(400)
  const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((name) => memory.open(name, false))
  expect(alice?.take(100)).toBe(true)
  expect(alice?.take(1)).toBe(false)
  expect(memory.open('alice', false).take(1)).toBe(false)
  expect(bob?.take(100)).toBe(true)
  expect(carol?.take(1)).toBe(false)
  const forwarded = memory.open(...fabric)
  expect(forwarded.take(200)).toBe(true)
  expect(memory.open(...fabric).take(1)).toBe(false)
})

test('an account that is closed, or closed twice, gives back what it took', () => {
  const memory = new BodyMemory(400)
  const alice = memory.open('alice', false)
  expect(alice.take(100)).toBe(true)
  alice.close()
  alice.close()
  expect(memory.open('alice', false).take(100)).toBe(true)
  expect(memory.open('alice', false).take(1)).toBe(false)
  expect(memory.open('bob', false).take(100)).toBe(true)
})

test('answers of one receiver have half of what all answers have', async () => {
  const connection = {}
  const memory = answerMemoryOf(connection)
  expect(answerMemoryOf(connection)).toBe(memory)
  const mebibytes = (count: number) => count * 1024 * 1024
  const greedy = memory.open('greedy', false)
  expect(greedy.take(mebibytes(64))).toBe(true)
  expect(memory.open('greedy', false).take(1)).toBe(false)
  expect(memory.open('other', false).take(mebibytes(60))).toBe(true)
  expect(memory.open('third', false).take(mebibytes(8))).toBe(false)
  async function* chunks() {
    yield await Promise.resolve(new Uint8Array(10))
  }
  const account = memory.open('greedy', false)
  await expect(readAll(chunks(), 100, 'ANSWER_TOO_LARGE', account)).rejects.toMatchObject({
    ...{ code: 'MEMORY_FULL', mayHaveActed: true, retry: false },
  })
  greedy.close()
  expect(await readAll(chunks(), 100, 'ANSWER_TOO_LARGE', account)).toHaveLength(10)
})
