import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FollowedEntry } from '@countersign/protocol'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { exportEntries, FileSink, fileCursor } from './entry-export.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-export-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const entryAt = (index: number): FollowedEntry => ({
  ...({ kind: 'outcome', exchange: `exc_${index}`, index, at: index, facts: {} } as const),
  ...{ caller: null, principal: null, producer: null, object: null, reason: null },
  ...{ changedBy: null, ended: null, cursor: String(index + 1) },
})

class Killed extends Error {}

/** A log of `size` entries, which ends its stream after some of them. */
function logOf(size: number, endAfter = size) {
  return async (after: string | null, use: (of: AsyncIterable<FollowedEntry>) => Promise<void>) => {
    async function* entries() {
      const from = Number(after ?? 0)
      for (let index = from; index < Math.min(size, from + endAfter); index++) yield entryAt(index)
    }
    await use(entries())
  }
}

test('a process that is killed at any point repeats entries, and leaves none out', async () => {
  const killed = fc.record({
    /** Entries that the stream has before it ends, and steps of sink and cursor before the kill. */
    endAfter: fc.integer({ min: 1, max: 30 }),
    steps: fc.integer({ min: 0, max: 6 }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(killed, { maxLength: 8 }),
      fc.integer({ min: 0, max: 60 }),
      async (runs, size) => {
        const durable: number[] = []
        let kept: string | null = null
        for (const { endAfter, steps } of [...runs, { endAfter: size + 1, steps: 1_000 }]) {
          const stop = new AbortController()
          let left = steps
          const step = async (happens: () => void): Promise<void> => {
            if (left-- === 0) throw new Killed()
            happens()
          }
          const run = exportEntries({
            connect: logOf(size, endAfter),
            sink: { write: (some) => step(() => void durable.push(...some.map((e) => e.index))) },
            cursor: { read: async () => kept, write: (at) => step(() => void (kept = at)) },
            signal: stop.signal,
            isPassing: (error) => !(error instanceof Killed),
            onWait: () => Number(kept ?? 0) >= size && stop.abort(),
            limits: { batchEntries: 4, batchMs: 0, backOffMs: 0, backOffMaxMs: 0 },
          })
          await run.catch((error: unknown) => {
            if (!(error instanceof Killed)) throw error
          })
        }
        expect([...new Set(durable)]).toEqual(Array.from({ length: size }, (_, i) => i))
        // At most one batch is repeated for each kill.
        expect(durable.length - size).toBeLessThanOrEqual(runs.length * 4)
        expect(Number(kept ?? 0)).toBe(size)
      },
    ),
    { numRuns: 80 },
  )
})

test('an error that does not pass ends it, and one that passes is waited for, ever longer', async () => {
  const waits: number[] = []
  const stop = new AbortController()
  let asked = 0
  const options = {
    sink: { write: async () => undefined },
    cursor: { read: async () => null, write: async () => undefined },
    signal: stop.signal,
    isPassing: (error: unknown) => error instanceof RangeError,
    onWait: (_: unknown, waitMs: number) => void waits.push(waitMs),
    limits: { batchMs: 0, backOffMs: 1, backOffMaxMs: 4 },
  }
  const refused = exportEntries({
    ...options,
    connect() {
      asked += 1
      return Promise.reject(asked < 6 ? new RangeError('away') : new TypeError('refused'))
    },
  })
  await expect(refused).rejects.toThrow('refused')
  expect(waits).toEqual([1, 2, 4, 4, 4])
})

test('a line that a crash cut off is replaced, and a file that was renamed is begun anew', async () => {
  const path = join(dir, 'entries.ndjson')
  const sink = new FileSink(path, ({ index }) => `{"index":${index}}\n`)
  await sink.mend()
  await sink.write([entryAt(0), entryAt(1)])
  appendFileSync(path, `{"index":2${'x'.repeat(200_000)}`)
  await sink.mend()
  await sink.write([entryAt(2)])
  expect(readFileSync(path, 'utf8')).toBe('{"index":0}\n{"index":1}\n{"index":2}\n')
  renameSync(path, `${path}.1`)
  await sink.write([entryAt(3)])
  expect(readFileSync(path, 'utf8')).toBe('{"index":3}\n')
  writeFileSync(path, 'torn')
  await sink.mend()
  expect(readFileSync(path, 'utf8')).toBe('')
})

test('a cursor is read back, and is absent before the first', async () => {
  const cursor = fileCursor(join(dir, 'cursor'))
  expect(await cursor.read()).toBeNull()
  await cursor.write('a.01234567.9')
  await cursor.write('a.01234567.12')
  expect(await cursor.read()).toBe('a.01234567.12')
  expect(readFileSync(join(dir, 'cursor'), 'utf8')).toBe('a.01234567.12\n')
})
