import { expect, test } from 'vitest'
import { type Leave, Places } from './places.ts'

function fill(take: () => Leave | null): Leave[] {
  const taken: Leave[] = []
  for (let leave = take(); leave !== null; leave = take()) taken.push(leave)
  return taken
}

test('an agent that only begins requests keeps neither others nor the fabric out', () => {
  const places = new Places(16, 16)
  const greedy = fill(() => places.arrive('greedy', false))
  expect(greedy).toHaveLength(8)
  expect(places.arrive('honest', false)).not.toBeNull()
  expect(fill(() => places.arrive('fabric', true))).toHaveLength(8)
})

test('a caller whose requests stay open leaves places for the others', () => {
  const places = new Places(16, 16)
  expect(fill(() => places.work('greedy'))).toHaveLength(8)
  expect(fill(() => places.work('second'))).toHaveLength(4)
  expect(places.work('third')).not.toBeNull()
})

test('a place is given back once, however often it is left', () => {
  const places = new Places(4, 4)
  const [first, ...others] = fill(() => places.work('greedy'))
  first?.()
  first?.()
  expect(fill(() => places.work('greedy'))).toHaveLength(1)
  for (const leave of others) leave()
})
