import { parseStrictJson, parseUtf8, utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { markerBytesMax } from '../detectors/operators.ts'
import { DATA_CLASSES, type Redacted, type RedactionRequest } from '../redactor.ts'
import { createRedactor, type RedactorOptions } from './create-redactor.ts'

const hashKey = new Uint8Array(32).fill(9)
const redactor = createRedactor({ hashKey })
const everything: RedactionRequest = { mask: DATA_CLASSES, block: [] }
const card = '4111 1111 1111 1111'
const plainCard = card.replaceAll(' ', '')

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

function redact(
  text: string,
  contentType = 'application/json',
  options?: Partial<RedactorOptions>,
): Redacted {
  const chosen = options === undefined ? redactor : createRedactor({ hashKey, ...options })
  const answer = chosen.redact(encode(text), contentType, everything)
  if (answer instanceof Refusal) throw new Error(`${answer.code}: ${answer.detail}`)
  return answer
}

function codeOf(
  body: Uint8Array | string,
  contentType = 'application/json',
  order = everything,
): string {
  const bytes = typeof body === 'string' ? encode(body) : body
  const answer = redactor.redact(bytes, contentType, order)
  return answer instanceof Refusal ? answer.code : 'passed'
}

const masked = (text: string, contentType = 'application/json'): string =>
  decode(redact(text, contentType).body)

describe('a body', () => {
  test('without findings comes back as the very same object', () => {
    for (const [text, type] of [
      ['{"a":[1,true,null,"x"]}', 'application/json'],
      ['hello', 'text/plain'],
      ['a=b&c=d', 'application/x-www-form-urlencoded'],
    ]) {
      const body = encode(text ?? '')
      const answer = redactor.redact(body, type ?? '', everything)
      expect(answer).not.toBeInstanceOf(Refusal)
      expect((answer as Redacted).body).toBe(body)
    }
  })

  test('with findings that the order does not name comes back as the very same object', () => {
    const body = encode(`{"a":"${card}"}`)
    const answer = redactor.redact(body, 'application/json', { mask: ['email'], block: [] })
    expect((answer as Redacted).body).toBe(body)
    expect((answer as Redacted).findings.map((f) => [f.dataClass, f.operator])).toEqual([
      ['card', 'none'],
    ])
  })

  test('is spliced: every byte that was not found stays as it was', () => {
    const text = `{ "n":12345678901234567890123,"f":1.0 ,"e":1E5,"u":"\\u00e9\\/\\ud83d\\ude00",\n"c":"pay ${card} now","z":-0}`
    expect(masked(text)).toBe(text.replace(card, '[CARD *1111]'))
  })

  test('of a number becomes a string that is still JSON', () => {
    const text = `{"pan":${plainCard},"exp":4.111111111111111e15,"one":4111111111111111.0}`
    const parsed = parseStrictJson(masked(text))
    expect(parsed).toEqual({ pan: '[CARD *1111]', exp: '[CARD *1111]', one: '[CARD *1111]' })
  })

  test('keeps two addresses apart that are names of members', () => {
    const text = '{"a@example.org":1,"b@example.org":2}'
    const answer = redact(text)
    expect(Object.keys(parseStrictJson(decode(answer.body)) as object)).toHaveLength(2)
    expect(decode(answer.body)).not.toContain('example')
  })

  test('that is empty passes under any media type', () => {
    expect(codeOf('', 'image/png')).toBe('passed')
    expect(codeOf('', '')).toBe('passed')
  })
})

describe('findings', () => {
  test('name class, detector, JSON Pointer, place in the body and operator', () => {
    const text = `{"a/b":[{"x~y":"to jane.doe@example.org"}]}`
    const { findings } = redact(text)
    expect(findings).toEqual([
      {
        dataClass: 'email',
        detector: 'email',
        path: '/a~1b/0/x~0y',
        start: text.indexOf('jane'),
        end: text.indexOf('"}]'),
        operator: 'hash',
      },
    ])
  })

  test('never hold the value, not even where it is a name above another finding', () => {
    const text = `{"jane.doe@example.org":{"note":"card ${card}"}}`
    const { findings } = redact(text)
    expect(findings.map((f) => f.dataClass)).toEqual(['email', 'card'])
    expect(JSON.stringify(findings)).not.toMatch(/jane|example|4111/)
    expect(findings[1]?.path).toBe('/[EMAIL]/note')
  })

  test('are blocked by class, and the refusal does not hold the value', () => {
    const body = encode(`{"a":"${card}","b":"x@example.org"}`)
    const answer = redactor.redact(body, 'application/json', { mask: [], block: ['card'] })
    expect(answer).toBeInstanceOf(Refusal)
    expect((answer as Refusal).code).toBe('CONTENT_BLOCKED')
    expect((answer as Refusal).detail).not.toContain('4111')
    expect(codeOf(body, 'application/json', { mask: [], block: ['ssn'] })).toBe('passed')
  })

  test('beyond the limit refuse the body', () => {
    const many = JSON.stringify(Array.from({ length: 40 }, (_, i) => `user${i}@example.org`))
    const small = createRedactor({ hashKey, limits: { findingsMax: 10 } })
    const answer = small.redact(encode(many), 'application/json', everything)
    expect((answer as Refusal).code).toBe('MESSAGE_TOO_LARGE')
  })
})

describe('a body without a media type', () => {
  test('is inspected as what a receiver would take it for', () => {
    const order = { mask: ['card'], block: [] }
    const masked = (text: string) => {
      const answer = redactor.redact(utf8(text), '', order)
      return answer instanceof Refusal ? answer.code : parseUtf8(answer.body)
    }
    expect(masked('pay 4111 1111 1111 1111')).toBe('pay [CARD *1111]')
    expect(masked(' {"a":"4111111111111111"}')).toBe(' {"a":"[CARD *1111]"}')
    expect(masked('{"a":1,"a":2}')).toBe('MESSAGE_MALFORMED')
  })
})

describe('content that cannot be inspected is refused', () => {
  test.each([
    'multipart/form-data; boundary=x',
    'application/octet-stream',
    'image/png',
    'application/grpc',
    'application/pdf',
    'application/xml',
    'text/event-stream',
    'application/json; charset=utf-16',
    'text/plain; charset=iso-8859-2',
    'text/',
    'json',
    'application/+json',
    'application/a/b+json',
  ])('the media type %j', (type) => {
    expect(codeOf('{}', type)).toBe('CONTENT_UNSUPPORTED')
  })

  test.each([
    'application/json',
    'Application/JSON; Charset="UTF-8"',
    'application/problem+json',
    'application/a2a+json;version=1',
    'text/plain',
    'text/html; charset=utf-8',
    'text/csv',
  ])('but not the media type %j', (type) => {
    expect(codeOf('{}', type)).toBe('passed')
  })

  test.each([
    ['bytes that are not UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['an overlong form', Uint8Array.of(0x22, 0xc0, 0xaf, 0x22)],
    ['UTF-16', Uint8Array.of(0xff, 0xfe, 0x7b, 0, 0x7d, 0)],
  ])('%s', (_, body) => {
    expect(codeOf(body)).toBe('MESSAGE_MALFORMED')
    expect(codeOf(body, 'text/plain')).toBe('MESSAGE_MALFORMED')
  })

  test('a body beyond the size limit', () => {
    const small = createRedactor({ hashKey, limits: { bodyBytesMax: 10 } })
    const answer = small.redact(encode('"12345678901"'), 'application/json', everything)
    expect((answer as Refusal).code).toBe('MESSAGE_TOO_LARGE')
  })

  test('a request with a class that no detector covers', () => {
    expect(codeOf('{}', 'application/json', { mask: ['passport'] as never, block: [] })).toBe(
      'UNDECIDED',
    )
    expect(codeOf('', 'application/json', { mask: [], block: ['x'] as never })).toBe('UNDECIDED')
  })
})

describe('operators', () => {
  const text = JSON.stringify({ v: `card ${card}` })
  test.each([
    ['redact', ''],
    ['replace', '[CARD]'],
    ['mask', '[CARD *1111]'],
  ] as const)('%s', (operator, marker) => {
    const { body } = redact(text, 'application/json', { operators: { card: operator } })
    expect(decode(body)).toBe(text.replace(card, marker))
  })

  test('hash is keyed, the same for the same value, and other for another class of key', () => {
    const hashed = (value: string, key: number): string => {
      const options = {
        operators: { card: 'hash' } as const,
        hashKey: new Uint8Array(32).fill(key),
      }
      return decode(redact(JSON.stringify([value]), 'application/json', options).body)
    }
    expect(hashed(card, 1)).toMatch(/^\["\[CARD:[a-z]{15}\]"\]$/)
    expect(hashed(card, 1)).toBe(hashed(plainCard, 1))
    expect(hashed(card, 1)).not.toBe(hashed(card, 2))
    expect(hashed(card, 1)).not.toBe(hashed('5500 0000 0000 0004', 1))
  })

  test('a short hash key is refused', () => {
    expect(() => createRedactor({ hashKey: new Uint8Array(16) })).toThrow(TypeError)
  })
})

describe('disguises', () => {
  const hidden: Record<string, string> = {
    'unicode escapes': '"\\u0034111\\u0020\\u0031111 1111 1111"',
    'zero-width spaces': '"4111\u200b1111\u200b1111\u200b1111"',
    'fullwidth digits': '"４１１１１１１１１１１１１１１１"',
    'Arabic digits': '"٤١١١١١١١١١١١١١١١"',
    'percent signs': '"%34%31%31%31111111111111"',
    'double percent signs': '"%2534111111111111111"',
    base64: JSON.stringify(Buffer.from(`pay with ${plainCard}`).toString('base64')),
    'base64 twice': JSON.stringify(
      Buffer.from(Buffer.from(`pay with ${plainCard} today`).toString('base64')).toString('base64'),
    ),
    'base64url in prose': JSON.stringify(
      `data ${Buffer.from(`card>>>${plainCard}???`).toString('base64url')} end`,
    ),
    'JSON in JSON': JSON.stringify(JSON.stringify({ text: `line\n${plainCard}` })),
    'escapes in JSON in JSON': JSON.stringify('{"a":"\\u0034111111111111111"}'),
    'character references': '"&#52;111111111111111"',
    'no-break spaces and dashes': '"4111\u00a01111\u00a01111\u00a01111"',
    'en dashes': '"4111–1111–1111–1111"',
    'digit by digit': '"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"',
  }
  test.each(Object.entries(hidden))('%s do not hide a card', (_, text) => {
    const { body, findings } = redact(text)
    expect(findings.map((f) => f.dataClass)).toContain('card')
    expect(() => parseStrictJson(decode(body))).not.toThrow()
    expect(decode(body)).toContain('[CARD')
    expect(codeOf(text, 'application/json', { mask: [], block: ['card'] })).toBe('CONTENT_BLOCKED')
  })

  test('an address with look-alike letters is found whole', () => {
    const { body } = redact('"mail: j\u0430ne@\u0435xample.org now"')
    expect(decode(body)).toMatch(/^"mail: \[EMAIL:[a-z]{15}\] now"$/)
  })

  test('an escape cut in the middle cannot happen', () => {
    const { body } = redact('"x\\njane@example.org\\ny"')
    expect(parseStrictJson(decode(body))).toMatch(/^x\n\[EMAIL:[a-z]{15}\]\ny$/)
  })
})

describe('forms', () => {
  const type = 'application/x-www-form-urlencoded'
  test('are searched by value and by name, and stay forms', () => {
    const text = 'to=jane%40example.org&pay=4111+1111+1111+1111&x=1'
    const parsed = new URLSearchParams(masked(text, type))
    expect(parsed.get('to')).toMatch(/^\[EMAIL:/)
    expect(parsed.get('pay')).toBe('[CARD *1111]')
    expect(parsed.get('x')).toBe('1')
    expect(redact('password=hunter22&x=1', type).findings[0]).toMatchObject({
      dataClass: 'credential',
      path: '/password',
    })
  })
})

/** Texts around the edges of every detector, glued together at random. */
const pieces = [
  card,
  plainCard,
  '5500-0000-0000-0004',
  '378282246310005',
  'DE89 3704 0044 0532 0130 00',
  'GB29NWBK60161331926819',
  'jane.doe@example.org',
  '123-45-6789',
  'ssn 123456789',
  '+1 212 555 0123',
  '(212) 555-0123',
  'phone: 5550123',
  'https://user:hunter22@host/x',
  `ghp_${'aB3dE5fG7h'.repeat(4)}`,
  'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJlLWhlcmU',
  '-----BEGIN PRIVATE KEY-----',
  'QUJD'.repeat(12),
  '%34',
  '\\n',
  '4',
  '-',
  ' ',
  '.',
  '@',
  '[CARD *1111]',
  ']',
  'card ',
  'é',
  '\u200b',
  '٤',
  Buffer.from(`pay ${plainCard}`).toString('base64'),
  '1',
  '12',
  '2024-01-15',
  '"',
  '\\',
]
const piece = fc.constantFrom(...pieces)
const text = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''))
/** Names that make secrets of what stands below, next to or behind them. */
const names = [
  ...['password', 'phone', 'ssn', 'token', 'auth', 'pass', 'cookies', 'api_key'],
  ...['name', 'value', 'key', 'label'],
]
const tree = fc.letrec((tie) => ({
  node: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.constantFrom('password', 'token', '--token', '-p', 'pass', 'login'),
    fc.integer(),
    fc.constantFrom(4_111_111_111_111_111, 5550123, 123_456_789, true, null),
    fc.array(tie('node'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(text, fc.constantFrom(...names)), tie('node'), {
      maxKeys: 4,
    }),
  ),
})).node

/** A sentence, until the key in it and its white space are masked. */
const keyed = `a1234567890bcdefgh/x-----BEGIN PRIVATE KEY-----4111 1111 1111 11114111 1111 1111 1111`
test.each([
  { token: { '': [keyed] } },
  { pass: keyed },
  ['x', 'token', keyed],
  { text: JSON.stringify(['x', 'token', keyed]) },
])('the rest of a value that is masked in part is judged again: %j', (value) => {
  const once = masked(JSON.stringify(value))
  expect(once).not.toContain('a1234567890')
  expect(masked(once)).toBe(once)
})

test('the value of a form is judged again once part of it is masked', () => {
  const form = 'application/x-www-form-urlencoded'
  const once = masked(`pass=${encodeURIComponent(keyed)}`, form)
  expect(once).not.toContain('a1234567890')
  expect(masked(once, form)).toBe(once)
})

describe('for any body', () => {
  test('masking twice is masking once', () => {
    fc.assert(
      fc.property(tree, (value) => {
        const text = JSON.stringify(value)
        fc.pre(codeOf(text) === 'passed')
        const once = masked(text)
        expect(masked(once)).toBe(once)
      }),
      { numRuns: 2_000 },
    )
    fc.assert(
      fc.property(text, (value) => {
        const once = masked(value, 'text/plain')
        expect(masked(once, 'text/plain')).toBe(once)
      }),
      { numRuns: 2_000 },
    )
  })

  test('the result is JSON of the same shape, and grows by no more than a marker for each finding', () => {
    fc.assert(
      fc.property(tree, (value) => {
        const text = JSON.stringify(value)
        fc.pre(codeOf(text) === 'passed')
        const { body, findings } = redact(text)
        const shape = (node: unknown): unknown => {
          if (Array.isArray(node)) return node.map(shape)
          if (typeof node !== 'object' || node === null) return 0
          // A name of digits stands before all others in an object of the engine's; its marker does
          // not.
          return Object.values(node)
            .map((child) => JSON.stringify(shape(child)))
            .toSorted()
        }
        expect(shape(parseStrictJson(decode(body)))).toEqual(shape(parseStrictJson(text)))
        // Two more for the quotes of a number that became a string.
        const bound = encode(text).length + findings.length * (markerBytesMax + 2)
        expect(body.length).toBeLessThanOrEqual(bound)
      }),
      { numRuns: 1_000 },
    )
  })

  test('findings are inside the body, in order', () => {
    fc.assert(
      fc.property(tree, (value) => {
        const text = JSON.stringify(value)
        fc.pre(codeOf(text) === 'passed')
        const { findings } = redact(text)
        const length = encode(text).length
        let last = 0
        for (const { start, end } of findings) {
          expect(start).toBeGreaterThanOrEqual(last)
          expect(end).toBeGreaterThan(start)
          expect(end).toBeLessThanOrEqual(length)
          last = start
        }
      }),
    )
  })

  test('JSON is accepted exactly when the strict parser accepts it', () => {
    const token = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"b"',
      '"\\u0061"',
      '"__proto__"',
      '"\\u005f_proto__"',
      '1',
      '-',
      '01',
      '1e999',
      '1e5',
      '-0.5',
      'true',
      'null',
      ' ',
      '\n',
      '"\\ud800"',
      '"\\ud83d\\ude00"',
      '"\\x"',
      '"',
      '\u0001',
      '"é"',
      '\ufeff',
      'nul',
      '1.',
    )
    const soup = fc.array(token, { maxLength: 12 }).map((tokens) => tokens.join(''))
    const nearly = fc
      .tuple(
        tree.map((value) => JSON.stringify(value)),
        fc.nat(),
        token,
      )
      .map(
        ([json, at, extra]) =>
          json.slice(0, at % (json.length + 1)) + extra + json.slice(at % (json.length + 1)),
      )
    fc.assert(
      fc.property(fc.oneof(soup, nearly), (given) => {
        fc.pre(given !== '' && given.isWellFormed())
        let strict = 'passed'
        try {
          parseStrictJson(given, { depthMax: 64 })
        } catch {
          strict = 'MESSAGE_MALFORMED'
        }
        expect(codeOf(given)).toBe(strict)
      }),
      { numRuns: 3_000 },
    )
  })

  test('more than twelve names are compared as few are, however they are spelt', () => {
    const names = Array.from({ length: 40 }, (_, i) => `"k${i}":0`)
    expect(codeOf(`{${names.join(',')}}`)).toBe('passed')
    for (const twin of ['"k0":1', '"k39":1', '"\\u006b7":1']) {
      expect(codeOf(`{${[...names, twin].join(',')}}`)).toBe('MESSAGE_MALFORMED')
      expect(codeOf(`{"\\u006b7":0,${twin}}`)).toBe(
        twin.includes('7') ? 'MESSAGE_MALFORMED' : 'passed',
      )
    }
  })

  test('depth is bounded as the strict parser bounds it', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
    expect(codeOf(nested(64))).toBe('passed')
    expect(codeOf(nested(65))).toBe('MESSAGE_MALFORMED')
    expect(codeOf(nested(1_000_000))).toBe('MESSAGE_MALFORMED')
  })
})
