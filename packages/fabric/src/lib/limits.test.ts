import { parseLimitText } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatLimit, type Limit, overLimit } from './limits.ts'

describe('a limit', () => {
  test.each<[Limit, string]>([
    [{ name: 'limits.bodyBytes', value: 4 * 1024 * 1024, unit: 'bytes' }, '4 MiB'],
    [{ name: 'limits.bodyBytes', value: 1500, unit: 'bytes' }, '1500 bytes'],
    [{ name: 'http.requestMs', value: 60_000, unit: 'ms' }, '1 min'],
    [{ name: 'http.headMs', value: 10_000, unit: 'ms' }, '10 s'],
    [{ name: 'http.headMs', value: 1500, unit: 'ms' }, '1500 ms'],
    [{ name: 'http.headerFields', value: 100, unit: 'count' }, '100'],
    [{ name: 'limits.requestsPerMinute', value: 6000, unit: 'per-minute' }, '6000 per minute'],
  ])('%j reads as %s', (limit, text) => {
    expect(formatLimit(limit)).toBe(`${limit.name}, ${text}`)
  })

  test('its text is accepted as another process receives it', () => {
    const unit = fc.constantFrom<Limit['unit']>('bytes', 'ms', 'count', 'per-minute')
    fc.assert(
      fc.property(fc.nat(), unit, (value, of) => {
        const text = formatLimit({ name: 'limits.bodyBytes', value, unit: of })
        expect(parseLimitText(text)).toBe(text)
      }),
    )
  })

  test.each(['', 'x', 'limits.bodyBytes', 'limits.bodyBytes, <b>', 'a.b, 1\r\nset-cookie: x'])(
    'another text is not taken for one: %j',
    (text) => {
      expect(parseLimitText(text)).toBeNull()
    },
  )

  test('a refusal over a limit names it for the caller and the ledger', () => {
    const limit = { name: 'limits.bodyBytes', value: 1024, unit: 'bytes' } as const
    const refusal = overLimit('MESSAGE_TOO_LARGE', limit, 'the body has 2000 bytes')
    expect(refusal.limit).toBe('limits.bodyBytes, 1 KiB')
    expect(refusal.detail).toBe('the body has 2000 bytes; over limits.bodyBytes, 1 KiB')
    expect(overLimit('MESSAGE_TOO_LARGE', limit).detail).toBe('over limits.bodyBytes, 1 KiB')
  })
})
