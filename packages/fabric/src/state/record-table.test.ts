import { expect, test, vi } from 'vitest'
import { RecordTable } from './record-table.ts'

const row = (key: string, owner: string, expiresAt = 100) => ({ key, owner, value: key, expiresAt })

test('an expired row is absent, and leaves', () => {
  const forgotten: string[] = []
  const table = new RecordTable<string>({ countMax: 10, perOwnerMax: 10 }, (key) =>
    forgotten.push(key),
  )
  table.put(row('a', 'alice', 50))
  expect(table.find('a', 49)?.value).toBe('a')
  expect(table.find('a', 50)).toBeNull()
  expect(forgotten).toEqual(['a'])
  expect(table.size).toBe(0)
})

test('expired rows are found in steps, from where the last step ended', () => {
  const table = new RecordTable<string>({ countMax: 100, perOwnerMax: 100 })
  for (let at = 0; at < 10; at++) table.put(row(`k${at}`, 'alice', at % 2 === 0 ? 50 : 150))
  expect(table.sweep(100, 4)).toBe(2)
  expect(table.size).toBe(8)
  expect(table.sweep(100, 6)).toBe(3)
  expect(table.size).toBe(5)
  for (let step = 0; step < 5; step++) table.sweep(200, 4)
  expect(table.size).toBe(0)
})

test('a row that is put again keeps its owner and its place', () => {
  const table = new RecordTable<string>({ countMax: 10, perOwnerMax: 2 })
  expect(table.put(row('a', 'alice'))).toBe(true)
  table.put(row('b', 'alice'))
  expect(table.put({ ...row('a', 'bob'), value: 'new' })).toBe(false)
  expect(table.find('a', 0)).toMatchObject({ owner: 'alice', value: 'new' })
  table.put(row('c', 'alice'))
  expect(table.find('a', 0)).toBeNull()
})

test('a row beyond the bounds looks at no other owner and no other row', () => {
  const table = new RecordTable<string>({ countMax: 20, perOwnerMax: 5 })
  for (let at = 0; at < 20; at++) table.put(row(`k${at}`, `caller-${at}`))
  const walks = [Map, Set].flatMap(({ prototype }) => [
    vi.spyOn(prototype, Symbol.iterator),
    ...(['keys', 'values', 'entries', 'forEach'] as const).map((way) => vi.spyOn(prototype, way)),
  ])
  try {
    for (let at = 20; at < 60; at++) table.put(row(`k${at}`, `caller-${at}`))
    for (let at = 0; at < 40; at++) table.put(row(`alice ${at}`, 'alice'))
    expect(walks.map((walk) => walk.mock.calls.length)).toEqual(walks.map(() => 0))
  } finally {
    for (const walk of walks) walk.mockRestore()
  }
  // The one that came last is not the one that goes.
  expect(table.find('alice 39', 0)).not.toBeNull()
  expect(table.find('k59', 0)).not.toBeNull()
  expect(table.find('k20', 0)).toBeNull()
})
