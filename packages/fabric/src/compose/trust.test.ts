import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { countersName, OWN_COUNTERS } from './counters.ts'
import { assertSameCounters } from './trust.ts'

const vectors = new URL('../../../protocol/vectors/receipt.json', import.meta.url)
const { trust } = JSON.parse(readFileSync(vectors, 'utf8')) as { readonly trust: string }
const { slots } = JSON.parse(trust) as { readonly slots: readonly object[] }

const redis = 'Redis with the prefix countersign:acme.test'
const row = (name: string, counters: string | null, isHeld = true) => ({
  ...{ name, token: 1, isHeld },
  note:
    counters === null ? '' : JSON.stringify({ address: '', marker: '', counters, slot: slots[0] }),
})
const besides = (own: string, ...others: readonly ReturnType<typeof row>[]) =>
  assertSameCounters(
    { name: 'a', slots: async () => [row('a', 'those of before'), ...others] },
    own,
  )

test('processes with one Redis, or on one data folder, run together', async () => {
  await besides(redis, row('b', redis), row('c', redis))
  await besides('of the data folder', row('b', 'of the data folder'))
})

test('a process does not start next to one that knows other used values', async () => {
  for (const [own, other] of [
    [redis, OWN_COUNTERS],
    [OWN_COUNTERS, redis],
    [OWN_COUNTERS, OWN_COUNTERS],
    [redis, `${redis}:other`],
  ] as const) {
    await expect(besides(own, row('b', other))).rejects.toThrow('set engines.counters of both')
  }
})

test('neither a process that has ended nor one that will look itself stands in the way', async () => {
  await besides(redis, row('b', OWN_COUNTERS, false), row('c', null))
})

test('counters have the name of what their processes share', () => {
  const sqlite = { engine: 'sqlite' } as const
  expect(countersName({ engines: { state: sqlite, counters: { engine: 'memory' } } })).toBe(
    'of the data folder',
  )
})
