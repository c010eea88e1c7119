import { ATTESTORS } from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { indexesOf, meshEntry } from '../harness/entries.ts'
import { verifies } from '../requirements.ts'

/** Values near to the known ones, and any others. */
const others = fc
  .oneof(
    fc.constantFrom('fabric', 'Caller', 'callee ', 'CALLER', 'caller,fabric', '', 'operator'),
    fc.constantFrom('сaller', 'caller\u200b', 'user/operator', 'spiffe://countersign.local'),
    fc.string({ maxLength: 30 }),
  )
  .map((text) => text.toWellFormed())

attack(
  verifies(
    ['record:attestor', 'receipt:disclosure'],
    'the attestor is one of a closed set, when it is recorded and when it is verified',
  ),
  {
    gateway: 'the fabric attests what it saw itself',
    mesh: {
      'of a request': async (world) => {
        await fc.assert(
          fc.asyncProperty(others, async (value) => {
            fc.pre(value !== 'connector')
            const bad = meshEntry({ facts: { 'attested.request': value } })
            expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
          }),
          { numRuns: 30 },
        )
      },
      'of a response': async (world) => {
        await fc.assert(
          fc.asyncProperty(others, async (value) => {
            fc.pre(value !== 'connector')
            const { exchange } = meshEntry()
            await indexesOf(world, [meshEntry({ exchange })])
            const facts = { 'attested.response': value }
            const bad = meshEntry({ kind: 'outcome', exchange, facts })
            const good = meshEntry({ kind: 'outcome', exchange })
            expect(await indexesOf(world, [bad, good])).toEqual([null, expect.any(Number)])
          }),
          { numRuns: 15 },
        )
      },
      'of the other half': async (world) => {
        for (const half of ['request', 'response'] as const) {
          for (const value of ATTESTORS[half]) {
            const kind = half === 'request' ? 'refusal' : 'intent'
            const bad = meshEntry({ kind, facts: { [`attested.${half}`]: value } })
            expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
          }
        }
      },
      'of nobody': async (world) => {
        const bad = meshEntry({ facts: { 'attested.request': null } })
        expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
      },
    },
    queue: 'the fabric attests what it saw itself',
  },
)
