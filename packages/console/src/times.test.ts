import { expect, test } from 'vitest'
import { formatTook, formatUtc } from './times.ts'

test('a time has its date and its zone', () => {
  expect(formatUtc(Date.UTC(2026, 10, 27, 23, 8, 1, 999))).toBe('2026-11-27 23:08:01 UTC')
})

test('a number that is not a time is shown as it is', () => {
  expect(formatUtc(1e17)).toBe('100000000000000000 ms after 1970')
})

test('a duration has two figures or three', () => {
  expect([0, 12, 999, 1_000, 59_900, 60_000, 3_600_000].map(formatTook)).toEqual([
    ...['0 ms', '12 ms', '999 ms', '1.0 s', '59.9 s', '1 min', '60 min'],
  ])
})
