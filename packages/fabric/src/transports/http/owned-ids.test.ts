import { expect, test, vi } from 'vitest'
import { OwnedIds } from './owned-ids.ts'

test('the first owner of an id keeps it', () => {
  const ids = new OwnedIds({ totalMax: 10, perOwnerMax: 10 })
  ids.claim('billing', 'task 1', 'alice')
  ids.claim('billing', 'task 1', 'bob')
  expect(ids.find('billing', 'task 1')).toBe('alice')
  expect(ids.find('shop', 'task 1')).toBeNull()
})

test('an id that no client would send, or too long to keep, belongs to no one', () => {
  const ids = new OwnedIds({ totalMax: 10, perOwnerMax: 10 })
  ids.claim('billing', '', 'alice')
  ids.claim('billing', 'x'.repeat(257), 'alice')
  expect(ids.find('billing', '')).toBeNull()
  expect(ids.find('billing', 'x'.repeat(257))).toBeNull()
})

test('an id of a megabyte is not folded to tell that it belongs to no one', () => {
  const ids = new OwnedIds({ totalMax: 10, perOwnerMax: 10 })
  const long = `1${'x'.repeat(255)}`
  ids.claim('billing', long, 'alice')
  const spread = `${long.slice(0, 128)}${'-'.repeat(1_000)}${long.slice(128).toUpperCase()}`
  expect(ids.find('billing', spread)).toBe('alice')
  const fold = vi.spyOn(Array, 'from')
  try {
    ids.claim('billing', 'x'.repeat(1_000_000), 'bob')
    expect(ids.find('billing', 'x'.repeat(1_000_000))).toBeNull()
    expect(fold).not.toHaveBeenCalled()
  } finally {
    fold.mockRestore()
  }
})

test('a caller that fills its share loses what it used least, and no one else loses anything', () => {
  const ids = new OwnedIds({ totalMax: 100, perOwnerMax: 2 })
  ids.claim('billing', 'task a', 'alice')
  for (const n of [1, 2]) ids.claim('billing', `task ${n}`, 'bob')
  ids.find('billing', 'task 1')
  ids.claim('billing', 'task 3', 'bob')
  const owners = ['a', 1, 2, 3].map((n) => ids.find('billing', `task ${n}`))
  expect(owners).toEqual(['alice', 'bob', null, 'bob'])
})

test('when all is full, the caller that holds the most loses one', () => {
  const ids = new OwnedIds({ totalMax: 3, perOwnerMax: 3 })
  for (const n of [1, 2, 3]) ids.claim('billing', `task ${n}`, 'bob')
  ids.claim('billing', 'task a', 'alice')
  const owners = [1, 2, 3, 'a'].map((n) => ids.find('billing', `task ${n}`))
  expect(owners).toEqual([null, 'bob', 'bob', 'alice'])
})
