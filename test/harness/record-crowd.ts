import type { RecordStore } from '../../packages/fabric/src/state/record-store.ts'

const crowd = 3_000

/**
 * One owner adds thousands of records at once, and another one a single record behind them. Returns
 * how many of the first owner were written when that one was.
 */
export async function writtenBefore(store: RecordStore): Promise<{ of: number; written: number }> {
  const add = (owner: string, key: string) =>
    store.put('task', key, '1', { owner, lifetimeMs: 60_000, expected: null })
  let written = 0
  const others = Array.from({ length: crowd }, (_, i) =>
    add('mallory', `m${i}`).then(() => {
      written++
    }),
  )
  await add('alice', 'a')
  const found = { of: crowd, written }
  await Promise.all(others)
  return found
}
