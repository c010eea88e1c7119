import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { InspectionWork, TooMuchWork } from './inspection-work.ts'
import { DATA_CLASSES } from './redactor.ts'
import { createRedactor, REDACTION_LIMITS_DEFAULT } from './scan/create-redactor.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(9) })
const order = { mask: DATA_CLASSES, block: [] }
const fill = (unit: string, length: number): string =>
  unit.repeat(Math.ceil(length / unit.length)).slice(0, length)
const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** Pieces of text that make detectors start, decoders decode and findings multiply. */
const units = [
  ...['@', '[', '{', '(', '"', "'", '\\', '%', '&', ' ', '\n', '.', ',', '-', '/', '4', '0', 'a'],
  ...['@@@', '[[[', 'a@b.co ', '4111 1111 1111 1111 ', '4.1,', '4,1.', '411-1.1', '+1', '00 '],
  ...['%34', '%25', '%2525', '\\u0034', '\\u005c', '\\\\', '&#52;', '&amp;', '&quot;'],
  ...['password=', 'password="', 'password ', 'passwordsecrettoken', 'token=abc123def456 '],
  ...['"password":"', '\\"password\\":\\"hunter22\\",', '["password",', 'secret: x ', 'api key '],
  ...['eyJ', 'eyJaa.', 'sk-', '-----BEGIN PRIVATE KEY-----', '://a:', 'Bearer ', 'Basic YTpi'],
  ...['DE89 3704 0044 0532 0130 0', 'phone +1 212 555 0123 ', 'ssn 123 45 6789 ', 'card 4 '],
  ...['[CARD *1111] ', '*1111]', '00000000-0000-4000-8000-', 'é', '４', '\u200b', '٤', 'ﷺ'],
  ...[base64('4111 1111 1111 1111 '), base64(base64('password=hunter22 ')), base64('a@b.co\n')],
  ...['["', '{"a":1,', '{"a":1,"a":1}', '{ ', '[1 ', '%=&', '-pin=', 'pin=[CARD *1111]', '<a="'],
  ...['212-555ssn<password>', '<password>must be ', '</password>', '<password>x</password>'],
  ...[`${' '.repeat(400)}name="password"`, `${'\\'.repeat(200)}x" name: "password" `],
  ...[`password: a${' '.repeat(200)}!\n`, `password${' '.repeat(110)}`, 'password=a.a.a.a.'],
  ...[`cardx${'a'.repeat(60)}=${base64('password=hunter2')} `, `${base64('[[[[[[[password')} `],
  ...[`password="a"${' '.repeat(160)}\n`, `password={a:${'\\'.repeat(900)}"${'x'.repeat(900)}\n`],
  ...['pw=<<E\n E\n', 'pw=[["a",', 'pw=["a"],', 'x password=a\\\n'],
  ...['a=b&', '&', '&&a', '=', '{"a":', '{"a":0},', '"a",', '0,', '[],', '<password>', '# ', '//'],
]
const types = ['text/plain', 'application/json', 'application/x-www-form-urlencoded'] as const

function inspect(text: string, type: string, work: InspectionWork) {
  const isJson = type === 'application/json' && !/^[[{]/.test(text)
  const body = Buffer.from(isJson ? JSON.stringify(text) : text)
  return redactor.redact(body, type, { ...order, work })
}

function stepsOf(text: string, type: string): number {
  const work = new InspectionWork(Number.POSITIVE_INFINITY)
  inspect(text, type, work)
  return work.spent
}

/** Of one look at a text. */
const stepsPerByteMax = 1_200
/** Findings are masked and the result is inspected again, four times at most. */
const looksMax = 5

test('no text costs more steps than its length allows', () => {
  const text = fc
    .array(fc.tuple(fc.constantFrom(...units), fc.nat({ max: 400 })), {
      minLength: 1,
      maxLength: 6,
    })
    .map((parts) =>
      parts
        .map(([unit, count]) => unit.repeat(count))
        .join('')
        .slice(0, 6_000),
    )
  fc.assert(
    fc.property(text, fc.constantFrom(...types), fc.boolean(), (given, type, isTwice) => {
      const whole = isTwice ? given + given : given
      const { length } = Buffer.from(whole)
      const work = new InspectionWork(Number.POSITIVE_INFINITY)
      const seen = inspect(whole, type, work)
      const looks = seen instanceof Refusal || seen.findings.length > 0 ? looksMax : 1
      expect(work.spent).toBeLessThanOrEqual(looks * stepsPerByteMax * length + 5_000)
    }),
    { numRuns: 400 },
  )
})

test('a bracket that opens no list is not a reason to read on', () => {
  const text = `\\@${fill('pin=[CARD *1111]', 4_200)}`
  expect(stepsOf(text, 'text/plain')).toBeLessThan(200 * text.length)
})

/** Far fewer steps for each byte than a body of `inspect.bodyBytes` may have. */
const ordinaryStepsMax = 200_000_000 / REDACTION_LIMITS_DEFAULT.bodyBytesMax

test.each([
  [
    'an application',
    '2026-11-27T10:42:17.123Z INFO req=8f14e45f-ceea-467a-9af0-1c0e5f1d1c11 user=anna path=/v1/orders/7351 status=200 ms=12\n',
  ],
  [
    'a web server',
    '10.17.3.201 - - [27/Nov/2026:10:42:17 +0000] "GET /v1/items/7351?page=2&size=20 HTTP/1.1" 200 5316 "-" "Mozilla/5.0 (X11; Linux x86_64)"\n',
  ],
  ['coordinates', '52.5173885,13.3951309\n48.8588897,2.3200410\n'],
  ['a page of prose', 'please check the order status and reply with a summary of open items. '],
])('the log of %s costs so little that a body of any size passes', (_, line) => {
  const text = fill(line, 100_000)
  expect(stepsOf(text, 'text/plain')).toBeLessThan(ordinaryStepsMax * text.length)
  expect(stepsOf(text, 'application/json')).toBeLessThan(ordinaryStepsMax * text.length)
})

test('an account that is used up ends the inspection, and nothing else does', () => {
  const text = fill('password="', 4_096)
  const needed = stepsOf(text, 'text/plain')
  expect(() => inspect(text, 'text/plain', new InspectionWork(needed - 1))).toThrow(TooMuchWork)
  expect(() => inspect(text, 'text/plain', new InspectionWork(needed))).not.toThrow()
})

test('each sign of markup is paid for by every element around it', () => {
  const deep = (depth: number) =>
    `${'<password>'.repeat(depth)}${'<>'.repeat(1_000)}none${'</password>'.repeat(depth)}`
  const signs = 1_000
  expect(stepsOf(deep(40), 'text/plain')).toBeGreaterThan(40 * signs * 50)
})

test('a body that costs more than any may is refused by the name of the limit', () => {
  const strict = createRedactor({ hashKey: new Uint8Array(32), limits: { stepsMax: 10_000 } })
  const refused = strict.redact(Buffer.from(fill('password="', 4_096)), 'text/plain', order)
  expect(refused).toBeInstanceOf(Refusal)
  expect(refused).toMatchObject({ code: 'MESSAGE_TOO_LARGE', limit: 'inspect.steps, 10000' })
})

/**
 * Sixteen small texts take as long as one that is sixteen times as long; quadratic work takes a
 * sixteenth. The shortest of several measurements counts on each side: what else the machine does
 * only adds to one. Processor time would not do, since kernels count it in ticks of 4 ms.
 */
describe('time grows in proportion to the text', () => {
  const small = 3 * 1024
  const factor = 16
  const timeOf = (text: string, type: string, times: number): number => {
    const began = performance.now()
    for (let i = 0; i < times; i++)
      inspect(text, type, new InspectionWork(Number.POSITIVE_INFINITY))
    return performance.now() - began
  }
  const cases = types.flatMap((type) => units.map((unit) => [type, unit] as const))
  const grows = (textOf: (length: number) => string, type: string): void => {
    const [part, whole] = [textOf(small), textOf(small * factor)]
    timeOf(part, type, 2)
    const shortest = { parts: Number.POSITIVE_INFINITY, whole: Number.POSITIVE_INFINITY }
    const ratio = (): number => shortest.whole / Math.max(shortest.parts, 0.5)
    // A ratio near that of linear work needs no second measurement; quadratic work has one of 16.
    for (let attempt = 0; attempt < 24 && !(ratio() < (attempt < 3 ? 2 : 4)); attempt++) {
      shortest.parts = Math.min(shortest.parts, timeOf(part, type, factor))
      shortest.whole = Math.min(shortest.whole, timeOf(whole, type, 1))
    }
    expect(ratio()).toBeLessThan(4)
  }
  test.each(cases)('%s of %j', (type, unit) => {
    grows((length) => fill(unit, length), type)
  })
  test.each([
    ['<password>', '</password>'],
    ['<password>must be', '</password>'],
    ['{"a":[', ']}'],
  ])('%j inside one another', (open, close) => {
    grows((length) => {
      const deep = Math.floor(length / (open.length + close.length))
      return `${open.repeat(deep)}${close.repeat(deep)} password`
    }, 'text/plain')
  })
  test('members of pairs, each with a frame of its own', () => {
    grows((length) => {
      const pairs = Array.from({ length: length / 40 }, (_, i) => {
        return `"a${i}Name":"password","a${i}Value":"x1"`
      })
      return `{${pairs.join(',')}}`
    }, 'application/json')
  })
  test('a form with a long value', () => {
    const form = 'application/x-www-form-urlencoded'
    grows((length) => `a=${fill('4111.', length)}`, form)
  })
})
