import type { MeshEntryKind } from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { indexesOf, meshEntry, newExchange, record } from '../harness/entries.ts'
import { verifies } from '../requirements.ts'

const minute = 60_000
const day = 86_400_000
const opening: readonly MeshEntryKind[] = ['intent', 'refusal']

attack(verifies(['record:attestor'], 'an entry is of now, whatever its kind'), {
  gateway: 'the fabric dates its own entries',
  mesh: {
    'an exchange of another time': async (world) => {
      const past = fc.integer({ min: 6 * minute, max: 400 * day }).map((age) => -age)
      const future = fc.integer({ min: 6 * minute, max: 400 * day })
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...opening),
          fc.oneof(past, future, fc.constantFrom(-30 * day, -365 * day)),
          async (kind, offset) => {
            const bad = meshEntry({ kind, exchange: newExchange(Date.now() + offset) })
            const indexes = await indexesOf(world, [bad, meshEntry()])
            expect(indexes).toEqual([null, expect.any(Number)])
            await expect(world.explain(bad.exchange)).rejects.toThrow()
          },
        ),
        { numRuns: 25 },
      )
    },
    'one that began a moment ago is recorded': async (world) => {
      const entries = opening.map((kind) =>
        meshEntry({ kind, exchange: newExchange(Date.now() - 4 * minute) }),
      )
      expect((await record(world, entries)).status).toBe(200)
    },
    'an end of an exchange of last month': async (world) => {
      for (const kind of ['outcome', 'indeterminate'] as const) {
        const bad = meshEntry({ kind, exchange: newExchange(Date.now() - 30 * day) })
        expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
      }
    },
    'a time of its own': async (world) => {
      const bad = meshEntry({ facts: { at: Date.now() - 30 * day } })
      expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
    },
  },
  queue: 'the fabric dates its own entries',
})
