import { expect, test, vi } from 'vitest'
import { deadline } from '../../../../test/harness/deadline.ts'
import { memoryRecordStore } from '../adapters/memory/record-store.ts'
import { RecordCache, type RecordCacheOptions, recordStaleMs } from './record-cache.ts'
import { RECORD_BOUNDS, type RecordStore } from './record-store.ts'

class SteppedClock {
  at = 0
  readonly now = (): number => 1_000_000 + this.at
  readonly monotonic = (): number => this.at
}

function lab() {
  const clock = new SteppedClock()
  const store = memoryRecordStore({ clock })
  const cache = (options: Partial<RecordCacheOptions> = {}) =>
    new RecordCache({
      ...{ store, clock, collection: 'task', lifetimeMs: 10_000 },
      freshMs: Number.POSITIVE_INFINITY,
      ...options,
    })
  return { clock, store, cache }
}

const failing = (store: RecordStore): RecordStore => ({
  ...store,
  findEach: () => Promise.reject(new Error('no store')),
  put: () => Promise.reject(new Error('no store')),
  added: () => Promise.reject(new Error('no store')),
})

test('what is written once is read once', async () => {
  const { store, cache } = lab()
  const [here, there] = [cache(), cache()]
  await there.claim('a', 'alice', 'alice')
  const reads = vi.spyOn(store, 'findEach')
  expect(await here.find('a')).toBe('alice')
  expect(await here.find('a')).toBe('alice')
  expect(reads).toHaveBeenCalledTimes(1)
})

test('a key that was absent is read again', async () => {
  const { cache } = lab()
  const [here, there] = [cache(), cache()]
  expect(await here.find('a')).toBeNull()
  await there.claim('a', 'alice', 'alice')
  expect(await here.find('a')).toBe('alice')
})

test('the first claim wins, and each later one returns its value', async () => {
  const { cache } = lab()
  const caches = Array.from({ length: 6 }, () => cache())
  const won = await Promise.all(caches.map((each, at) => each.claim('a', `v${at}`, `o${at}`)))
  expect(new Set(won).size).toBe(1)
})

test('a value that can end is read again once it is not fresh', async () => {
  const { clock, cache } = lab()
  const [here, there] = [cache({ freshMs: 200 }), cache({ freshMs: 200 })]
  await here.claim('a', 'alice', 'alice')
  expect(await there.find('a')).toBe('alice')
  await here.remove('a')
  expect(await here.find('a')).toBeNull()
  clock.at += 200
  expect(await there.find('a')).toBeNull()
  expect(there.held('a')).toBeNull()
})

test('a record in use does not expire, and one that is not used does', async () => {
  const { clock, store, cache } = lab()
  const here = cache()
  await here.claim('used', '1', 'alice')
  await here.claim('unused', '1', 'alice')
  for (let step = 0; step < 5; step++) {
    clock.at += 6_000
    here.held('used')
    await vi.waitFor(async () => {
      expect((await store.find('task', 'used'))?.leftMs).toBe(10_000)
    }, deadline)
  }
  expect(here.held('used')).toBe('1')
  expect(here.held('unused')).toBeNull()
  expect(await here.find('unused')).toBeNull()
})

test('follows what other processes add, in steps, and what is held is theirs if they were first', async () => {
  const { clock, store, cache } = lab()
  const there = cache()
  for (let at = 0; at < 2_500; at++) await there.claim(`k${at}`, 'alice', 'alice')
  const known = new Set<string>()
  const here = cache({
    onAdd: (key) => known.add(key),
    onForget: (key) => known.delete(key),
  })
  await here.follow()
  expect(known.size).toBe(2_500)
  expect(here.current()).toBeNull()
  await there.remove('k7')
  await there.claim('k7', 'bob', 'bob')
  clock.at += recordStaleMs + 1
  await here.current()
  expect(here.held('k7')).toBe('bob')
  expect(known.size).toBe(2_500)
  here.close()
  expect((await store.findEach('task', ['k7'])).get('k7')?.value).toBe('bob')
})

test('a cache that does not follow is never behind', () => {
  expect(lab().cache().current()).toBeNull()
})

test('a cache that cannot read does not decide by what it held', async () => {
  const { clock, store, cache } = lab()
  const broken = { ...store }
  const here = cache({ store: broken })
  await here.follow()
  Object.assign(broken, failing(store))
  clock.at += recordStaleMs
  expect(here.current()).toBeNull()
  clock.at += 1
  await expect(here.current()).rejects.toThrow('no store')
  Object.assign(broken, store)
  await here.current()
  expect(here.current()).toBeNull()
  here.close()
})

test('rejects a claim that cannot be written, and holds nothing of it', async () => {
  const { store, cache } = lab()
  const here = cache({ store: failing(store) })
  await expect(here.claim('a', 'alice', 'alice')).rejects.toThrow('no store')
  await expect(here.find('a')).rejects.toThrow('no store')
  expect(here.held('a')).toBeNull()
})

test('holds no more than its bounds', async () => {
  const { cache } = lab()
  const here = cache({ bounds: { ...RECORD_BOUNDS.task, perOwnerMax: 3 } })
  for (let at = 0; at < 5; at++) await here.claim(`k${at}`, 'alice', 'alice')
  expect(['k0', 'k1', 'k2', 'k3', 'k4'].map((key) => here.held(key) !== null)).toEqual([
    ...[false, false, true, true, true],
  ])
})
