import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatLimit, type Limit, limitShares, parseLimit, parseLimitText } from './limit.ts'

const shares: readonly Pick<Limit, 'per'>[] = [{}, ...limitShares.map((per) => ({ per }))]

describe('a limit', () => {
  test.each<[Limit, string]>([
    [{ name: 'limits.bodyBytes', value: 4 * 1024 * 1024, unit: 'bytes' }, '4 MiB'],
    [{ name: 'limits.bodyBytes', value: 1500, unit: 'bytes' }, '1500 bytes'],
    [{ name: 'http.requestMs', value: 60_000, unit: 'ms' }, '1 min'],
    [{ name: 'http.headMs', value: 10_000, unit: 'ms' }, '10 s'],
    [{ name: 'http.headMs', value: 1500, unit: 'ms' }, '1500 ms'],
    [{ name: 'http.headerFields', value: 100, unit: 'count' }, '100'],
    [{ name: 'limits.requestsPerMinute', value: 6000, unit: 'per-minute' }, '6000 per minute'],
    [
      { name: 'http.publicBytes', value: 524_288, unit: 'bytes', per: 'address' },
      '512 KiB per address',
    ],
    [{ name: 'a.b', value: 3, unit: 'count', per: 'caller' }, '3 per caller'],
    [{ name: 'a.b', value: 3, unit: 'per-minute', per: 'caller' }, '3 per minute per caller'],
    [{ name: 'a.b', value: 2.5, unit: 'bytes' }, '2 bytes'],
    [{ name: 'a.b', value: 0, unit: 'bytes' }, '0 bytes'],
  ])('%j reads as %s', (limit, text) => {
    expect(formatLimit(limit)).toBe(`${limit.name}, ${text}`)
  })

  test('its text is accepted as another process receives it', () => {
    const unit = fc.constantFrom<Limit['unit']>('bytes', 'ms', 'count', 'per-minute')
    const per = fc.constantFrom(...shares)
    fc.assert(
      fc.property(fc.maxSafeNat(), unit, per, (value, of, share) => {
        const limit: Limit = { name: 'limits.bodyBytes', value, unit: of, ...share }
        const text = formatLimit(limit)
        expect(parseLimitText(text)).toBe(text)
        expect(parseLimit(text)).toEqual(limit)
      }),
    )
  })

  test('every text that is accepted has one spelling', () => {
    const word = fc.constantFrom('per', 'minute', 'KiB', 'bytes', 'receiver', '', 's', '1', 'x')
    const texts = fc
      .tuple(fc.constantFrom('a.b', 'limits.bodyBytes', 'a'), fc.nat(5000), fc.array(word))
      .map(([name, value, words]) => [`${name}, ${value}`, ...words].join(' '))
    fc.assert(
      fc.property(fc.oneof(texts, fc.string()), (text) => {
        const limit = parseLimit(text)
        if (limit !== null) expect(formatLimit(limit)).toBe(text)
      }),
    )
  })

  test.each([
    ...['', 'x', 'limits.bodyBytes', 'limits.bodyBytes, <b>', 'a.b, 1\r\nset-cookie: x'],
    ...['a.b of one receiver, 1', 'a.b, 1 per', 'a.b, 1 per you', 'a.b, 1 per minute per minute'],
    ...[
      'a.b, 01',
      'a.b, 1024 KiB',
      'a.b, 1e3',
      'a.b, -1',
      'a.b, 9007199254740992',
      'a.b, Infinity',
    ],
    ...['a.b.c, 1', 'a.b, 1, 2', ' a.b, 1', 'a.b, 1 ', 'a.b,  1', 'a.b, 1 constructor'],
  ])('another text is not taken for one: %j', (text) => {
    expect(parseLimitText(text)).toBeNull()
    expect(parseLimit(text)).toBeNull()
  })
})
