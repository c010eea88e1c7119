import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { StateStore } from '../../packages/fabric/src/identity/state-store.ts'

/** The contract of every state store; only the durable ones promise to survive a restart. */
export function stateStoreContract(engine: string, open: () => Promise<StateStore>): void {
  describe(`state store on ${engine}`, () => {
    const opened: StateStore[] = []
    const openOne = async () => {
      const store = await open()
      opened.push(store)
      return store
    }
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close()
    })

    test('gives back what was written, by key, table by table', async () => {
      const store = await openOne()
      await store.commit([
        { table: 'agents', key: 'b', value: '2' },
        { table: 'agents', key: 'a', value: '1' },
        { table: 'settings', key: 'a', value: 'ä\u0000€' },
      ])
      await store.commit([{ table: 'agents', key: 'b', value: '3' }])
      expect(await store.load('agents')).toEqual([
        { key: 'a', value: '1' },
        { key: 'b', value: '3' },
      ])
      expect(await store.load('settings')).toEqual([{ key: 'a', value: 'ä\u0000€' }])
      expect(await store.load('api-keys')).toEqual([])
    })

    test('writes all changes of a commit or none', async () => {
      const store = await openOne()
      await store.commit([{ table: 'agents', key: 'a', value: '1' }])
      const refused = await store.commit([
        { table: 'agents', key: 'b', value: '1' },
        { table: 'agents', key: 'a', value: null },
        { table: 'join-tokens', key: 'x', value: 'used', expected: 'unused' },
      ])
      expect(refused).toBe(false)
      expect(await store.load('agents')).toEqual([{ key: 'a', value: '1' }])
    })

    test('lets one of many racing writers win', async () => {
      const store = await openOne()
      await store.commit([{ table: 'join-tokens', key: 't', value: 'unused' }])
      const won = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          store.commit([
            { table: 'join-tokens', key: 't', value: `used by ${i}`, expected: 'unused' },
            { table: 'agents', key: `agent-${i}`, value: '{}', expected: null },
          ]),
        ),
      )
      expect(won.filter(Boolean)).toHaveLength(1)
      expect(await store.load('agents')).toHaveLength(1)
    })

    test('behaves as a map, whatever is written', async () => {
      const change = fc.record({
        key: fc.constantFrom('a', 'b', "c'; --"),
        value: fc.option(fc.string({ unit: 'grapheme', maxLength: 8 })),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(change, { maxLength: 6 }), async (changes) => {
          const store = await openOne()
          const model = new Map<string, string>()
          for (const { key, value } of changes) {
            const expected = model.get(key) ?? null
            expect(await store.commit([{ table: 'settings', key, value, expected }])).toBe(true)
            if (value === null) model.delete(key)
            else model.set(key, value)
          }
          const rows = await store.load('settings')
          expect(new Map(rows.map((row) => [row.key, row.value]))).toEqual(model)
        }),
        { numRuns: 15 },
      )
    })
  })
}
