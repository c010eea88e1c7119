import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  type Revision,
  type StateChange,
  type StateCommit,
  type StateStore,
  stateHistoryRows,
} from '../../packages/fabric/src/state/state-store.ts'
import { deadline } from '../harness/deadline.ts'
import { rowsOf } from './state-rows.ts'

/** Opens one store, each time as another process would. */
export type OpenState = () => Promise<StateStore>

/** Makes a new empty store that keeps as many rows of history. */
export type MakeState = (historyRows: number) => Promise<OpenState>

const put = (key: string, value: string | null, expected?: string | null): StateChange => ({
  ...{ table: 'settings', key, value },
  ...(expected === undefined ? {} : { expected }),
})

/** Follows a store from `after`, page by page; null when it has fallen behind the history. */
async function follow(
  store: StateStore,
  after: Revision,
  rowsMax: number,
): Promise<readonly StateCommit[] | null> {
  const followed: StateCommit[] = []
  for (let reached = after; ; ) {
    const page = await store.changes(reached, rowsMax)
    if (page === null) return null
    if (page.commits.length === 0) {
      expect(page.revision).toBe(reached)
      return followed
    }
    expect(page.revision).toBe(page.commits.at(-1)?.revision)
    followed.push(...page.commits)
    reached = page.revision
  }
}

/** The contract of every state store; only the durable ones promise to survive a restart. */
export function stateStoreContract(engine: string, make: MakeState): void {
  const opened: StateStore[] = []
  const openSome = async <Count extends 1 | 2>(count: Count, historyRows = stateHistoryRows) => {
    const open = await make(historyRows)
    const stores: StateStore[] = []
    while (stores.length < count) stores.push(await open())
    opened.push(...stores)
    return stores as unknown as Count extends 1 ? [StateStore] : [StateStore, StateStore]
  }
  const closeAll = async () => {
    for (const store of opened.splice(0)) await store.close()
  }

  describe(`state store on ${engine}`, () => {
    afterEach(closeAll)

    test('reads what was committed, all tables at one revision', async () => {
      const [store] = await openSome(1)
      expect(await store.read()).toEqual({ revision: 0, rows: [] })
      await store.commit([
        { table: 'agents', key: 'b', value: '2' },
        { table: 'agents', key: 'a', value: '1' },
        { table: 'settings', key: 'a', value: 'ä\u0001€😀' },
      ])
      await store.commit([{ table: 'agents', key: 'b', value: '3' }])
      const { revision, rows } = await store.read()
      expect(revision).toBe(2)
      expect(rows).toHaveLength(3)
      expect(rows).toEqual(
        expect.arrayContaining([
          { table: 'agents', key: 'a', value: '1' },
          { table: 'agents', key: 'b', value: '3' },
          { table: 'settings', key: 'a', value: 'ä\u0001€😀' },
        ]),
      )
    })

    test('writes all changes of a commit or none', async () => {
      const [store] = await openSome(1)
      await store.commit([{ table: 'agents', key: 'a', value: '1' }])
      const refused = await store.commit([
        { table: 'agents', key: 'b', value: '1' },
        { table: 'agents', key: 'a', value: null },
        { table: 'join-tokens', key: 'x', value: 'used', expected: 'unused' },
      ])
      expect(refused).toBeNull()
      expect(await store.read()).toEqual({
        revision: 1,
        rows: [{ table: 'agents', key: 'a', value: '1' }],
      })
      expect(await follow(store, 1, 10)).toEqual([])
    })

    test('counts commits, and none that wrote nothing', async () => {
      const [store] = await openSome(1)
      expect(await store.commit([])).toBe(0)
      expect(await store.commit([put('a', '1')])).toBe(1)
      expect(await store.commit([put('a', '2', 'other')])).toBeNull()
      expect(await store.commit([])).toBe(1)
      expect(await store.commit([put('a', '1', '1')])).toBe(2)
      expect((await store.read()).revision).toBe(2)
    })

    test('compares with the rows before the commit, and the last change of a row wins', async () => {
      const [store] = await openSome(1)
      expect(await store.commit([put('a', '1', null), put('a', '2', null)])).toBe(1)
      expect(await store.commit([put('a', null, '2'), put('a', '3', '2')])).toBe(2)
      expect(await store.commit([put('a', null, '3'), put('b', null)])).toBe(3)
      expect(await rowsOf(store, 'settings')).toEqual([])
      expect(await follow(store, 1, 10)).toEqual([
        {
          revision: 2,
          changes: [
            { table: 'settings', key: 'a', value: null },
            { table: 'settings', key: 'a', value: '3' },
          ],
        },
        {
          revision: 3,
          changes: [
            { table: 'settings', key: 'a', value: null },
            { table: 'settings', key: 'b', value: null },
          ],
        },
      ])
    })

    test.for([
      ['U+0000 in a key', put('a\0', '1')],
      ['U+0000 in a value', put('a', '\0')],
      ['half of a surrogate pair', put('a', '\ud83d')],
      ['half of a surrogate pair that is expected', put('a', '1', '\ud83d')],
    ] as const)('refuses %s, and writes nothing', async ([, change]) => {
      const [store] = await openSome(1)
      await expect(store.commit([put('b', '1'), change])).rejects.toThrow('well-formed')
      expect(await store.read()).toEqual({ revision: 0, rows: [] })
    })

    test('lets one of many racing writers win, on one opening and on two', async () => {
      const stores = await openSome(2)
      await stores[0].commit([{ table: 'join-tokens', key: 't', value: 'unused' }])
      const won = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          stores[i % 2 === 0 ? 0 : 1].commit([
            { table: 'join-tokens', key: 't', value: `used by ${i}`, expected: 'unused' },
            { table: 'agents', key: `agent-${i}`, value: '{}', expected: null },
          ]),
        ),
      )
      expect(won.filter((revision) => revision !== null)).toEqual([2])
      for (const store of stores) expect(await rowsOf(store, 'agents')).toHaveLength(1)
    })

    test('loses no increment of racing writers on two openings', async () => {
      const stores = await openSome(2)
      await stores[0].commit([put('n', '0')])
      const increment = async (store: StateStore): Promise<void> => {
        for (;;) {
          const n = (await rowsOf(store, 'settings'))[0]?.value ?? ''
          if ((await store.commit([put('n', `${Number(n) + 1}`, n)])) !== null) return
        }
      }
      await Promise.all([...stores, ...stores, ...stores].map(increment))
      expect(await rowsOf(stores[1], 'settings')).toEqual([{ key: 'n', value: '6' }])
      const followed = await follow(stores[0], 0, 2)
      expect(followed?.map(({ revision }) => revision)).toEqual([1, 2, 3, 4, 5, 6, 7])
    })

    test('returns whole commits only, at least one, as many as the rows permit', async () => {
      const [store, other] = await openSome(2)
      const rows = (count: number) => Array.from({ length: count }, (_, i) => put(`k${i}`, 'v'))
      for (const count of [2, 1, 3, 4]) await store.commit(rows(count))
      const page = async (after: Revision, rowsMax: number) => {
        const changes = await other.changes(after, rowsMax)
        const sizes = changes?.commits.map((commit) => commit.changes.length)
        return [changes?.revision, sizes]
      }
      expect(await page(0, 1)).toEqual([1, [2]])
      expect(await page(0, 2)).toEqual([1, [2]])
      expect(await page(0, 3)).toEqual([2, [2, 1]])
      expect(await page(0, 5)).toEqual([2, [2, 1]])
      expect(await page(0, 6)).toEqual([3, [2, 1, 3]])
      expect(await page(2, 1)).toEqual([3, [3]])
      expect(await page(0, 100)).toEqual([4, [2, 1, 3, 4]])
      expect(await page(4, 1)).toEqual([4, []])
    })

    test('returns null to a reader that the history does not reach back to', async () => {
      const [store, other] = await openSome(2, 3)
      for (const key of ['a', 'b', 'c', 'd', 'e']) await store.commit([put(key, '1')])
      expect(await other.changes(0, 10)).toBeNull()
      expect(await other.changes(1, 10)).toBeNull()
      expect((await follow(other, 2, 1))?.map(({ revision }) => revision)).toEqual([3, 4, 5])
      expect((await other.read()).rows).toHaveLength(5)
      // A reader that was ahead knows what this store never committed, or has lost.
      expect(await other.changes(6, 10)).toBeNull()
    })

    test('does not return a commit of which only a part is in the history', async () => {
      const [store] = await openSome(1, 3)
      await store.commit([put('a', '1'), put('b', '1')])
      await store.commit([put('c', '1'), put('d', '1')])
      expect(await store.changes(0, 10)).toBeNull()
      expect((await follow(store, 1, 10))?.map(({ changes }) => changes.length)).toEqual([2])
      await store.commit(['a', 'b', 'c', 'd'].map((key) => put(key, '2')))
      expect(await store.changes(2, 10)).toBeNull()
      expect(await follow(store, 3, 10)).toEqual([])
      await store.commit([put('a', '3')])
      expect(await follow(store, 3, 10)).toEqual([
        { revision: 4, changes: [{ table: 'settings', key: 'a', value: '3' }] },
      ])
    })

    test('wakes another opening after a commit, until its listener stops', async () => {
      const [store, other] = await openSome(2)
      const wakes = vi.fn<() => void>()
      const after = vi.fn<() => void>()
      const stop = other.onWake(wakes)
      other.onWake(after)
      await store.commit([put('a', '1')])
      await vi.waitFor(() => expect(wakes).toHaveBeenCalled(), deadline)
      stop()
      wakes.mockClear()
      after.mockClear()
      await store.commit([put('a', '2')])
      await vi.waitFor(() => expect(after).toHaveBeenCalled(), deadline)
      expect(wakes).not.toHaveBeenCalled()
    })

    test('behaves as one map and one list of commits, whichever opening writes and reads', async () => {
      const step = fc.record({
        by: fc.constantFrom(0 as const, 1 as const),
        rowsMax: fc.integer({ min: 1, max: 4 }),
        changes: fc.array(
          fc.record({
            table: fc.constantFrom('agents', 'settings'),
            key: fc.constantFrom('a', 'b', "c'; --"),
            value: fc.option(fc.constantFrom('', '1', '2', 'ß')),
            expects: fc.constantFrom('nothing', 'the row', 'no row'),
          }),
          { maxLength: 4 },
        ),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
          const stores = await openSome(2)
          const rows = new Map<string, string>()
          const commits: StateCommit[] = []
          for (const { by, rowsMax, changes } of steps) {
            const present = ({ table, key }: { table: string; key: string }) =>
              rows.get(`${table}/${key}`) ?? null
            const stated = changes.map(({ expects, ...change }): StateChange => {
              if (expects === 'nothing') return change
              return { ...change, expected: expects === 'the row' ? present(change) : null }
            })
            const holds = stated.every(
              (change) => change.expected === undefined || change.expected === present(change),
            )
            const revision = commits.length + (changes.length === 0 ? 0 : 1)
            expect(await stores[by].commit(stated)).toBe(holds ? revision : null)
            if (holds && stated.length > 0) {
              const written = stated.map(({ table, key, value }) => ({ table, key, value }))
              for (const { table, key, value } of written) {
                if (value === null) rows.delete(`${table}/${key}`)
                else rows.set(`${table}/${key}`, value)
              }
              commits.push({ revision, changes: written })
            }
            const reader = stores[by === 0 ? 1 : 0]
            const after = Math.floor(commits.length / 2)
            expect(await follow(reader, after, rowsMax)).toEqual(commits.slice(after))
          }
          const { revision, rows: stored } = await stores[1].read()
          expect(revision).toBe(commits.length)
          expect(new Map(stored.map((row) => [`${row.table}/${row.key}`, row.value]))).toEqual(rows)
          await closeAll()
        }),
        { numRuns: 15 },
      )
    })
  })
}
