import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type BoundsOfRecords,
  RECORD_BOUNDS,
  type RecordStore,
  recordKey,
} from '../../packages/fabric/src/state/record-store.ts'

export interface OpenedRecords {
  readonly store: RecordStore
  /** Another opening of the same records; absent where an engine has only one. */
  readonly other?: RecordStore
  /** Lets time pass by the clock of the store. */
  wait(ms: number): Promise<void>
  close(): Promise<void>
}

const small: BoundsOfRecords = {
  ...RECORD_BOUNDS,
  task: { countMax: 6, perOwnerMax: 4 },
  event: { countMax: 3, perOwnerMax: 3 },
}

const forAlice = { owner: 'alice', lifetimeMs: 60_000 } as const
const forBob = { owner: 'bob', lifetimeMs: 60_000 } as const
const claim = { ...forAlice, expected: null } as const

/** The contract of every record store. */
export function recordStoreContract(
  engine: string,
  open: (bounds: BoundsOfRecords) => Promise<OpenedRecords>,
): void {
  describe(`record store on ${engine}`, () => {
    const opened: OpenedRecords[] = []
    const openOne = async (bounds: BoundsOfRecords = RECORD_BOUNDS): Promise<OpenedRecords> => {
      const one = await open(bounds)
      opened.push(one)
      return one
    }
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close()
    })
    const keysOf = async (store: RecordStore, after = 0, max = 100): Promise<readonly string[]> =>
      (await store.added('task', after, max)).map(({ key }) => key)

    test('returns what was put, collection by collection', async () => {
      const { store } = await openOne()
      expect(await store.find('task', 'a')).toBeNull()
      expect(await store.put('task', 'a', 'ä€"\\', forAlice)).toBe(true)
      expect(await store.put('mcp-session', 'a', 'other', forAlice)).toBe(true)
      expect(await store.find('task', 'a')).toMatchObject({ value: 'ä€"\\', owner: 'alice' })
      expect(await store.find('mcp-session', 'a')).toMatchObject({ value: 'other' })
      expect(await store.find('event', 'a')).toBeNull()
      await store.put('task', 'b', '2', forAlice)
      const found = await store.findEach('task', ['a', 'b', 'c'])
      expect([...found.keys()].toSorted()).toEqual(['a', 'b'])
      expect(found.get('b')?.value).toBe('2')
      expect(found.get('b')?.leftMs).toBeGreaterThan(50_000)
      expect(found.get('b')?.leftMs).toBeLessThanOrEqual(60_000)
    })

    test('the first claim of a key wins, on whichever opening', async () => {
      const { store, other = store } = await openOne()
      const won = await Promise.all(
        Array.from({ length: 12 }, (_, at) =>
          (at % 2 === 0 ? store : other).put('task', 'a', `caller-${at}`, claim),
        ),
      )
      expect(won.filter(Boolean)).toHaveLength(1)
      const winner = `caller-${won.indexOf(true)}`
      expect(await store.find('task', 'a')).toMatchObject({ value: winner })
      expect(await other.find('task', 'a')).toMatchObject({ value: winner })
    })

    test('a lost expectation changes nothing', async () => {
      const { store } = await openOne()
      expect(
        await store.put('approval', 'a', 'approved', { ...forAlice, expected: 'pending' }),
      ).toBe(false)
      await store.put('approval', 'a', 'pending', claim)
      expect(await store.put('approval', 'a', 'mine', claim)).toBe(false)
      const approve = { ...forAlice, expected: 'pending' } as const
      expect(await store.put('approval', 'a', 'approved', approve)).toBe(true)
      expect(await store.put('approval', 'a', 'denied', approve)).toBe(false)
      expect(await store.remove('approval', 'a', 'pending')).toBe(false)
      expect(await store.find('approval', 'a')).toMatchObject({ value: 'approved' })
    })

    test('one of many removals wins, and the key can be claimed anew', async () => {
      const { store, other = store } = await openOne()
      await store.put('approval', 'a', 'approved', claim)
      const removed = await Promise.all([
        store.remove('approval', 'a', 'approved'),
        other.remove('approval', 'a', 'approved'),
        store.remove('approval', 'a'),
      ])
      expect(removed.filter(Boolean)).toHaveLength(1)
      expect(await other.find('approval', 'a')).toBeNull()
      expect(await store.remove('approval', 'a')).toBe(false)
      expect(await store.put('approval', 'a', 'pending', claim)).toBe(true)
    })

    test('an expired record is absent for every function', async () => {
      const { store, wait } = await openOne()
      await store.put('task', 'a', '1', { owner: 'alice', lifetimeMs: 400, expected: null })
      await store.put('task', 'b', '1', forAlice)
      await wait(500)
      expect(await store.find('task', 'a')).toBeNull()
      expect((await store.findEach('task', ['a', 'b'])).has('a')).toBe(false)
      expect(await keysOf(store)).toEqual(['b'])
      expect(await store.put('task', 'a', '2', { ...forAlice, expected: '1' })).toBe(false)
      expect(await store.remove('task', 'a')).toBe(false)
      expect(await store.put('task', 'a', '2', { ...forBob, expected: null })).toBe(true)
      const added = await store.added('task', 0, 100)
      expect(added.map(({ key, value, owner }) => [key, value, owner])).toEqual([
        ['b', '1', 'alice'],
        ['a', '2', 'bob'],
      ])
    })

    test('a record that is put again lives on, in its place and on its account', async () => {
      const { store, wait } = await openOne()
      await store.put('task', 'a', '1', { owner: 'alice', lifetimeMs: 2_000 })
      await store.put('task', 'b', '1', forBob)
      await store.put('task', 'a', '2', { ...forBob, expected: '1' })
      await wait(2_100)
      const added = await store.added('task', 0, 100)
      expect(added.map(({ key, value, owner }) => [key, value, owner])).toEqual([
        ['a', '2', 'alice'],
        ['b', '1', 'bob'],
      ])
    })

    test('deletes expired records, and no others', async () => {
      const { store, wait } = await openOne()
      for (let at = 0; at < 30; at++) {
        await store.put('task', `short ${at}`, '1', { owner: 'alice', lifetimeMs: 100 })
      }
      await store.put('task', 'long', '1', forAlice)
      await wait(200)
      let deleted = 0
      for (let round = 0; round < 10; round++) deleted += await store.sweep()
      expect(deleted).toBe(30)
      expect(await keysOf(store)).toEqual(['long'])
    })

    test('an owner that fills its share loses its oldest, and others lose nothing', async () => {
      const { store } = await openOne(small)
      await store.put('task', 'b', '1', forBob)
      for (let at = 0; at < 6; at++) await store.put('task', `a${at}`, '1', forAlice)
      expect(await keysOf(store)).toEqual(['b', 'a2', 'a3', 'a4', 'a5'])
      await store.remove('task', 'a3')
      await store.put('task', 'a6', '1', forAlice)
      expect(await keysOf(store)).toEqual(['b', 'a2', 'a4', 'a5', 'a6'])
    })

    test('in a full collection, the owner that has most loses its oldest', async () => {
      const { store } = await openOne(small)
      for (let at = 0; at < 3; at++) await store.put('event', `a${at}`, '1', forAlice)
      await store.put('event', 'b', '1', forBob)
      await store.put('event', 'c', '1', { ...forBob, owner: 'carol' })
      const left = await store.findEach('event', ['a0', 'a1', 'a2', 'b', 'c'])
      expect([...left.keys()].toSorted()).toEqual(['a2', 'b', 'c'])
    })

    test('lists what was added, in steps, each key once', async () => {
      const { store, other = store } = await openOne()
      for (let at = 0; at < 5; at++) {
        await (at % 2 === 0 ? store : other).put('task', `k${at}`, '1', forAlice)
      }
      const first = await store.added('task', 0, 3)
      expect(first.map(({ key }) => key)).toEqual(['k0', 'k1', 'k2'])
      const last = first.at(-1)?.sequence ?? 0
      await other.put('task', 'k0', '2', forAlice)
      await other.remove('task', 'k1')
      await other.put('task', 'k1', '3', forAlice)
      expect(await keysOf(store, last)).toEqual(['k3', 'k4', 'k1'])
    })

    test('a reader that follows while others write skips no key', async () => {
      const { store, other = store } = await openOne()
      const seen: string[] = []
      let after = 0
      const read = async (): Promise<void> => {
        for (const { key, sequence } of await store.added('task', after, 7)) {
          expect(sequence).toBeGreaterThan(after)
          after = sequence
          seen.push(key)
        }
      }
      const count = 60
      const writes = Array.from({ length: count }, (_, at) =>
        (at % 2 === 0 ? store : other).put('task', `k${at}`, '1', forAlice),
      )
      let isWriting = true
      const written = Promise.all(writes).finally(() => {
        isWriting = false
      })
      while (isWriting) {
        await read()
        await new Promise((resolve) => setImmediate(resolve))
      }
      await written
      for (let round = 0; round <= count / 7 + 1; round++) await read()
      expect(seen.toSorted()).toEqual(Array.from({ length: count }, (_, at) => `k${at}`).toSorted())
    })

    test('refuses what engines would store differently', async () => {
      const { store } = await openOne()
      await expect(store.put('task', 'a\0', '1', forAlice)).rejects.toThrow('well-formed')
      await expect(store.put('task', 'a', '\ud800', forAlice)).rejects.toThrow('well-formed')
      await expect(store.put('task', 'a'.repeat(5_000), '1', forAlice)).rejects.toThrow('4096')
      await expect(store.put('task', 'a', '1'.repeat(20_000), forAlice)).rejects.toThrow('16384')
      const odd = recordKey('shop', '\ud800\0')
      await store.put('task', odd, '1', forAlice)
      expect(await store.find('task', odd)).not.toBeNull()
      expect(await store.find('task', recordKey('shop', '\ud801\0'))).toBeNull()
    })

    test('behaves as a map, whatever is written', async () => {
      const step = fc.record({
        key: fc.constantFrom('a', 'b', "c'; --"),
        value: fc.option(fc.constantFrom('1', '2')),
        expected: fc.constantFrom(undefined, '1', '2'),
      })
      const { store } = await openOne()
      let runs = 0
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
          const space = String(runs++)
          const model = new Map<string, string>()
          for (const { key: id, value, expected } of steps) {
            const key = recordKey(space, id)
            const present = model.get(key)
            const of = expected === undefined ? {} : { expected }
            const isPut = value !== null
            const done = isPut
              ? await store.put('task', key, value, { ...forAlice, ...of })
              : await store.remove('task', key, expected)
            const holds = expected === undefined || expected === present
            expect(done).toBe(isPut ? holds : holds && present !== undefined)
            if (!done) continue
            if (isPut) model.set(key, value)
            else model.delete(key)
          }
          const added = await store.added('task', 0, 1_000)
          const rows = added.filter(({ key }) => key.startsWith(`${space}\n`))
          expect(new Map(rows.map(({ key, value }) => [key, value]))).toEqual(model)
        }),
        { numRuns: 10 },
      )
    })
  })
}
