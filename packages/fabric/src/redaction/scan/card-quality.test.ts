import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * Measures how often numbers that are not cards are taken for one, and how often cards in the
 * promised spellings are not found. The same numbers in every run. The table in SECURITY.md
 * ("Masking") is made of these rates.
 */

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(1) })
const samples = 4_000

/** The share of the texts in which a card is found, each the value of a JSON member. */
function share(texts: readonly string[]): number {
  const body = new TextEncoder().encode(JSON.stringify(texts))
  const answer = redactor.redact(body, 'application/json', { mask: [], block: [] })
  if (answer instanceof Refusal) throw new Error(answer.detail)
  const found = answer.findings.filter(({ dataClass }) => dataClass === 'card')
  return new Set(found.map(({ path }) => path)).size / texts.length
}

const draw = (texts: fc.Arbitrary<string>): string[] =>
  fc.sample(texts, { seed: 8, numRuns: samples })

/** Each number as likely as any other, unlike `fc.integer`, which prefers the ends. */
const below = (limit: number): fc.Arbitrary<number> =>
  fc.noBias(fc.integer({ min: 0, max: limit - 1 }))
const digits = (count: number): fc.Arbitrary<string> =>
  fc.array(below(10), { minLength: count, maxLength: count }).map((list) => list.join(''))
const hex = (count: number): fc.Arbitrary<string> =>
  fc
    .array(below(16), { minLength: count, maxLength: count })
    .map((list) => list.map((digit) => digit.toString(16)).join(''))
const decimal = (from: number, to: number, places: number): fc.Arbitrary<string> =>
  below(2 ** 31).map((n) => (from + ((to - from) * n) / 2 ** 31).toFixed(places))
const list = (item: fc.Arbitrary<string>, count: number, sign: string): fc.Arbitrary<string> =>
  fc.array(item, { minLength: count, maxLength: count }).map((items) => items.join(sign))
const pad = (limit: number): fc.Arbitrary<string> =>
  below(limit).map((n) => String(n + 1).padStart(2, '0'))
const date = fc.tuple(below(300), pad(12), pad(28)).map(([y, m, d]) => `${1990 + y}-${m}-${d}`)
const day = fc.tuple(pad(31), pad(12), below(300)).map(([d, m, y]) => `${d}/${m}/${1990 + y}`)
const time = fc
  .tuple(pad(23), pad(59), pad(59), digits(3))
  .map(([h, m, s, ms]) => `${h}:${m}:${s}.${ms}`)
const uuid = fc
  .tuple(hex(8), hex(4), hex(3), hex(3), hex(12))
  .map(([a, b, c, d, e]) => `${a}-${b}-4${c}-a${d}-${e}`)
const epoch = (scale: number): fc.Arbitrary<string> =>
  below(400_000_000).map((s) =>
    String(BigInt(1_600_000_000 + s) * BigInt(scale) + BigInt(s % scale)),
  )

/** Texts that must stay as they are, with the share that may be taken for a card number. */
const left: Readonly<Record<string, readonly [most: number, texts: fc.Arbitrary<string>]>> = {
  UUIDs: [0, uuid],
  'UUIDs behind a name': [0, uuid.map((id) => `task_${id}`)],
  'MD5 digests': [0, hex(32)],
  'SHA-1 digests': [0, hex(40)],
  'SHA-256 digests': [0, hex(64).map((digest) => `sha256:${digest}`)],
  'points in time': [0, fc.tuple(date, time).map(([d, t]) => `${d}T${t}Z`)],
  'spans of time': [
    0,
    fc.tuple(date, time, date, time).map(([d, t, e, u]) => `${d} ${t}/${e} ${u}`),
  ],
  'spans of days': [0, list(day, 2, ' - ')],
  'seconds since 1970': [0, list(epoch(1), 3, ', ')],
  'milliseconds since 1970': [0, epoch(1_000)],
  'microseconds since 1970': [0, epoch(1_000_000)],
  'nanoseconds since 1970': [0, epoch(1_000_000_000)],
  'IPv4 addresses': [0, list(list(below(256).map(String), 4, '.'), 3, ', ')],
  'ISBN and EAN': [0, digits(10).map((tail) => `978${tail}`)],
  versions: [0, list(list(below(60).map(String), 3, '.'), 3, ' ')],
  decimals: [0.005, below(2 ** 31).map((n) => String((n / 2 ** 31) * 1000))],
  'decimals below one': [0.005, below(2 ** 31).map((n) => String((n * Math.PI) / 2 ** 33))],
  'rows of decimals': [0.005, list(decimal(0, 10, 1), 8, ' ')],
  coordinates: [0.005, list(decimal(-90, 90, 14), 2, ', ')],
  'short coordinates': [0.005, list(decimal(-90, 90, 6), 2, ',')],
  'bounding boxes': [0.005, list(decimal(51, 55, 2), 4, ',')],
  'bounding boxes in detail': [0.005, list(decimal(-60, 60, 5), 4, ' ')],
  prices: [0.005, list(decimal(30, 60, 2), 4, ', ')],
  'prices with decimal commas': [
    0.005,
    list(decimal(30, 60, 2), 4, ' ').map((t) => t.replaceAll('.', ',')),
  ],
  'ids of 24 hexadecimal digits': [0.005, hex(24)],
  // These are written as cards are: what the check digit and the issuer leave of them.
  'order numbers of 16 digits': [0.05, digits(16)],
  'lists of four numbers of four digits': [0.05, list(digits(4), 4, ',')],
  'lists of eight numbers of two digits': [0.05, list(digits(2), 8, ', ')],
  'lists of twenty numbers of two digits': [0.005, list(digits(2), 20, ', ')],
  'pairs of numbers of eight digits': [0.05, list(digits(8), 2, ' ')],
}

test.each(Object.entries(left))('%s are left alone', (_, [most, texts]) => {
  expect(share(draw(texts))).toBeLessThanOrEqual(most)
})

/** Issuer and length as published, the last digit by Luhn. */
const card = fc
  .constantFrom(['4', 16], ['55', 16], ['2345', 16], ['37', 15], ['6011', 16], ['36', 14])
  .chain(([prefix, length]) =>
    digits(Number(length) - String(prefix).length - 1).map((body) => `${prefix}${body}`),
  )
  .map((body) => {
    let sum = 0
    for (const [i, digit] of body.split('').toReversed().entries()) {
      const value = Number(digit) * (i % 2 === 0 ? 2 : 1)
      sum += value > 9 ? value - 9 : value
    }
    return `${body}${(10 - (sum % 10)) % 10}`
  })

const cut = (number: string, sizes: readonly number[], sign: string): string => {
  const groups: string[] = []
  for (let at = 0, k = 0; at < number.length; k++) {
    const size = sizes[k % sizes.length] ?? 4
    groups.push(number.slice(at, at + size))
    at += size
  }
  return groups.join(sign)
}
const inGroups = (number: string, sign: string): string =>
  cut(number, number.length === 16 ? [4] : [4, 6, 6], sign)

const sign = fc.constantFrom(
  ...[' ', '-', '.', ',', '_', ':', ';', '/', '|', '*', '#', '=', '\t', '\n', '\r\n', 'x', 'é'],
  ...[' - ', ', ', ' / ', '--', '  ', '·', '–', '—', '、', '\u00a0', '] ', ' *', '][', '"', "','"],
)
/** Joints that do not separate the items of a list: a few other digits may be next to them. */
const joint = fc.constantFrom(' ', '-', '.', '_', ':', '/', '*', ' - ', '·', '–', 'x')
const beside = fc.oneof(
  fc.constantFrom('2024', '2027', '0000', '1', '42', '[CARD *1111]', '*1111]', '[card]', '0'),
  digits(4),
  digits(6),
)

const spellings: Readonly<Record<string, fc.Arbitrary<string>>> = {
  'in one row': card,
  'in groups': fc.tuple(card, sign).map(([number, s]) => inGroups(number, s)),
  'in groups between other groups': fc
    .tuple(beside, card, beside, sign, sign)
    .map(([a, number, b, s, t]) => [a, inGroups(number, s), b].join(t)),
  'in groups in a row of its own sign': fc
    .tuple(beside, card, beside, sign)
    .map(([a, number, b, s]) => [a, inGroups(number, s), b].join(s)),
  'in groups after zeros': fc
    .tuple(card, sign, fc.constantFrom('0', '00', '0000', '000000'))
    .map(([number, s, zeros]) => `${zeros}${s}${inGroups(number, s)}`),
  'in groups with zeros before the first': fc
    .tuple(card, sign, sign, fc.constantFrom('0', '000', '0000'))
    .map(
      ([number, s, t, zeros]) =>
        `${zeros}${number.slice(0, 4)}${t}${inGroups(number, s).replace(/^\d{4}\D*/u, '')}`,
    )
    .filter((text) => !/^\d+\.\d+$/.test(text)),
  'in groups with different signs': fc
    .tuple(card, sign, sign, sign)
    .map(([number, a, b, c]) =>
      [number.slice(0, 4), a, number.slice(4, 8), b, number.slice(8, 12), c, number.slice(12)].join(
        '',
      ),
    )
    .filter((text) => !/^\d{4}\.\d{4}\D/.test(text)),
  'in pairs or single digits': fc
    .tuple(card, sign, fc.constantFrom(1, 2))
    .map(([number, s, size]) => cut(number, [size], s)),
  'in pairs or single digits next to others': fc
    .tuple(below(100), card, below(10_000), joint, fc.constantFrom(1, 2))
    .map(([a, number, b, s, size]) => [String(a), cut(number, [size], s), String(b)].join(s)),
  'in pairs or single digits next to another card': fc
    .tuple(card, card, sign, fc.constantFrom(1, 2))
    .filter(([a, , , size]) => a.length % size === 0)
    .map(([a, b, s, size]) => [cut(a, [size], s), cut(b, [size], s)].join(s)),
  'in any groups': fc
    .tuple(card, sign, fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 }))
    .map(([number, s, sizes]) => cut(number, sizes, s)),
  'with an exponent': card.map(
    (number) => `x = ${number[0]}.${number.slice(1)}e${number.length - 1};`,
  ),
  'as a double that is printed so': card
    .filter((number) => Number(number) > 1e15 && Number(number) < 9e15 && number.at(-1) !== '0')
    .map((number) => `${BigInt(number) - 1n}.96`),
  'with thousands': card.map((number) => Number(number).toLocaleString('en-US')),
}

describe('of the promised spellings of a card none is missed:', () => {
  test.each(Object.entries(spellings))('%s', (_, texts) => {
    const drawn = draw(texts)
    const missed = drawn.filter((text) => share([text]) === 0)
    expect(missed.slice(0, 5)).toEqual([])
    const inProse = drawn.map((text) => `my number is ${text} thanks`)
    expect(inProse.filter((text) => share([text]) === 0).slice(0, 5)).toEqual([])
  })
})
