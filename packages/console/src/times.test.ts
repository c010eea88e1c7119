import { expect, test } from 'vitest'
import { formatUtc } from './times.ts'

test('a time has its date and its zone', () => {
  expect(formatUtc(Date.UTC(2026, 10, 27, 23, 8, 1, 999))).toBe('2026-11-27 23:08:01 UTC')
})

test('a number that is not a time is shown as it is', () => {
  expect(formatUtc(1e17)).toBe('100000000000000000 ms after 1970')
})
