import { expect, test } from 'vitest'
import { retentionOf } from './retention.ts'

test('a hold until a date has all of that day, and one until a time ends there', () => {
  const hold = { from: '2026-03-01', reason: 'court' }
  const holds = {
    date: { ...hold, until: '2026-03-31' },
    time: { ...hold, until: '2026-03-31T12:00:00Z' },
    open: hold,
  }
  const config = { ledger: { leaseMs: 10_000, retention: { keepDays: 30, holds } } }
  expect(retentionOf(config)?.holds.map(({ name, until }) => [name, until])).toEqual([
    ['date', Date.UTC(2026, 3, 1) - 1],
    ['time', Date.UTC(2026, 2, 31, 12)],
    ['open', Number.MAX_SAFE_INTEGER],
  ])
})
