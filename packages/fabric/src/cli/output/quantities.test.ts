import { expect, test } from 'vitest'
import { formatCount, formatDuration, formatMebibytes, formatTime } from './quantities.ts'

test.each([
  [0, '0 s'],
  [999, '0 s'],
  [61_000, '1 min 1 s'],
  [3_600_000, '1 h'],
  [90_061_000, '1 d 1 h'],
])('%i ms is %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text)
})

test('times sort as they are written', () => {
  const texts = [0, 86_400_000, 31_536_000_000].map((ms) => formatTime(ms))
  expect(texts.toSorted()).toEqual(texts)
  expect(texts[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
})

test('counts and sizes read as people say them', () => {
  expect(formatCount(1, 'policy', 'policies')).toBe('1 policy')
  expect(formatCount(2, 'policy', 'policies')).toBe('2 policies')
  expect(formatMebibytes(1_572_864)).toBe('1.5 MiB')
})
