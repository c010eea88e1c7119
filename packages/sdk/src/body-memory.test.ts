import { expect, test } from 'vitest'
import { BodyMemory } from './body-memory.ts'

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
