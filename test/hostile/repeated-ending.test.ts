import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { indexesOf, meshEntry, record } from '../harness/entries.ts'
import { verifies } from '../requirements.ts'

attack(verifies(['record:append-only'], 'an ending that is sent again is recorded once'), {
  gateway: 'the fabric closes its own exchanges',
  mesh: {
    'word for word, its answer was lost': async (world) => {
      const { exchange } = meshEntry()
      await record(world, [meshEntry({ exchange })])
      const ending = meshEntry({ exchange, kind: 'outcome' })
      const [first] = await indexesOf(world, [ending])
      expect(first).toEqual(expect.any(Number))
      const beside = meshEntry()
      expect(await indexesOf(world, [ending, beside])).toEqual([first, expect.any(Number)])
      expect((await record(world, [ending])).status).toBe(200)
      const kinds = (await world.explain(exchange)).map(({ kind }) => kind)
      expect(kinds).toEqual(['intent', 'outcome'])
    },
    'with another fact, of another kind, or by another connector': async (world) => {
      const { exchange } = meshEntry()
      await record(world, [meshEntry({ exchange })])
      const ending = meshEntry({ exchange, kind: 'outcome' })
      await record(world, [ending])
      const others = [
        meshEntry({ exchange, kind: 'outcome', facts: { status: 201 } }),
        meshEntry({ exchange, kind: 'outcome', facts: { 'response.masked': null } }),
        meshEntry({ exchange, kind: 'indeterminate', facts: { code: 'OUTCOME_UNKNOWN' } }),
      ]
      for (const other of others) {
        expect(await indexesOf(world, [other, meshEntry()])).toEqual([null, expect.any(Number)])
      }
      expect((await record(world, [ending], 'thief-of-endings')).status).toBe(403)
      expect((await world.explain(exchange)).map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
    },
  },
  queue: 'the fabric closes its own exchanges',
})
