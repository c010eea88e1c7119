import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson, type JsonValue } from './canonical.ts'
import { MalformedError, OverLimitError } from './malformed-error.ts'
import {
  parseStrictJson,
  STRICT_JSON_DIGITS_MAX,
  STRICT_JSON_NAMES_MAX,
  STRICT_JSON_VALUES_MAX,
} from './strict-json.ts'

const json = fc.jsonValue({ maxDepth: 5, stringUnit: 'grapheme' }) as fc.Arbitrary<JsonValue>

/** A slow reader of members, to judge the fast count by: all keys of all objects, in order. */
function hasDuplicate(text: string): boolean {
  const open: Set<string>[] = []
  const tokens = text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g)
  for (const [token, colon] of tokens) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (colon !== undefined) {
      const key = String(JSON.parse(token.slice(0, -colon.length)))
      const keys = open.at(-1)
      if (keys?.has(key) === true) return true
      keys?.add(key)
    }
  }
  return false
}

describe('strict JSON', () => {
  test('agrees with JSON.parse on every document without an attack', () => {
    fc.assert(
      fc.property(json, fc.constantFrom(0, 1, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        fc.pre(!text.includes('__proto__'))
        expect(parseStrictJson(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  test('refuses exactly the documents that have a duplicate member', () => {
    const key = fc.constantFrom('"a"', '"b"', '"\\u0061"', '"a:"', '"\\""', '"1"', '"{"')
    const leaf = fc.constantFrom('1', '"a:b"', '"\\\\"', '"\\":"', '[]', 'null')
    const { object } = fc.letrec<{ object: string }>((tie) => ({
      object: fc
        .array(fc.tuple(key, fc.oneof({ depthSize: 'small' }, leaf, tie('object'))), {
          maxLength: 4,
        })
        .map((members) => `{${members.map(([k, v]) => `${k} : ${v}`).join(' , ')}}`),
    }))
    fc.assert(
      fc.property(object, (text) => {
        const parse = () => parseStrictJson(text)
        if (hasDuplicate(text)) expect(parse).toThrow(MalformedError)
        else expect(parse()).toEqual(JSON.parse(text))
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    ['a duplicate member', '{"a":1,"a":1}'],
    ['a duplicate in another spelling', '{"a":1,"\\u0061":2}'],
    ['a duplicate deep inside', '[[{"b":{"a":1,"b":2,"a":3}}]]'],
    ['a duplicate number-like member', '{"1":1,"1":2}'],
    ['an empty duplicate', '{"":1,"":2}'],
    ['__proto__', '{"__proto__":{}}'],
    ['__proto__ in another spelling', '{"\\u005f_proto__":1}'],
    ['__proto__ deep inside', '{"a":[{"__proto__":null}]}'],
    ['an escaped lone surrogate', '"\\ud800"'],
    ['a lone surrogate in a member name', '{"\\udc00":1}'],
    ['surrogates in the wrong order', '["\\udc00\\ud800"]'],
    ['a raw lone surrogate', '"\ud800"'],
    ['a number beyond a double', '[1e400]'],
    ['a byte order mark', '\ufeff{}'],
    ['a trailing comma', '[1,]'],
    ['a comment', '[1] // one'],
    ['single quotes', "{'a':1}"],
    ['NaN', 'NaN'],
    ['a control character in a string', '"\u0001"'],
    ['two documents', '{}{}'],
    ['nothing', ''],
  ])('refuses %s', (_, text) => {
    expect(() => parseStrictJson(text)).toThrow(MalformedError)
  })

  test('accepts a text that only looks like an attack', () => {
    const texts = [
      '{"a":{"a":{"a":1}}}',
      '[{"a":1},{"a":1}]',
      '{"a":"\\"a\\":1"}',
      '{"a\\\\":1,"a":2}',
      '{"constructor":1,"prototype":2,"hasOwnProperty":3}',
      '"\\ud83d\\ude00"',
      '{"a" \n:\t1}',
    ]
    for (const text of texts) expect(parseStrictJson(text), text).toEqual(JSON.parse(text))
  })

  test('bounds depth and length', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
    expect(parseStrictJson(nested(64))).toBeDefined()
    expect(() => parseStrictJson(nested(65))).toThrow(MalformedError)
    expect(() => parseStrictJson(nested(500_000))).toThrow(MalformedError)
    expect(parseStrictJson('1', { depthMax: 0 })).toBe(1)
    expect(() => parseStrictJson('[]', { depthMax: 0 })).toThrow(MalformedError)
    expect(() => parseStrictJson('{"a":{}}', { depthMax: 1 })).toThrow(MalformedError)
    expect(() => parseStrictJson('123', { charactersMax: 2 })).toThrow(MalformedError)
  })
})

describe('canonical JSON', () => {
  test('is stable, and means the same', () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = canonicalJson(value)
        const again = JSON.parse(text) as JsonValue
        expect(canonicalJson(again)).toBe(text)
        expect(text).toBe(canonicalJson(JSON.parse(JSON.stringify(value)) as JsonValue))
      }),
    )
  })

  test('does not depend on the order of members', () => {
    const members = fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), {
      selector: ([key]) => key,
    })
    fc.assert(
      fc.property(members, (list) => {
        const forward = canonicalJson(Object.fromEntries(list))
        expect(canonicalJson(Object.fromEntries(list.toReversed()))).toBe(forward)
      }),
    )
  })

  test('sorts by UTF-16 code units, as RFC 8785, section 3.2.3 shows', () => {
    const given = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    }
    const order = Object.values(JSON.parse(canonicalJson(given)) as Record<string, string>)
    // Number-like names come first in any JavaScript object; the text shows the true order.
    expect(canonicalJson(given).indexOf('Carriage')).toBeLessThan(
      canonicalJson(given).indexOf('One'),
    )
    expect(order.slice(2)).toEqual([
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ])
  })

  test('writes numbers and strings as RFC 8785, section 3.2.2 shows', () => {
    const numbers = [
      Number('333333333.33333329'),
      1e30,
      4.5,
      2e-3,
      0.000000000000000000000000001,
      -0,
    ]
    expect(canonicalJson(numbers)).toBe('[333333333.3333333,1e+30,4.5,0.002,1e-27,0]')
    const text = '\u20ac$\u000f\u000aA\'\u0042\u0022\u005c\\"/'
    expect(canonicalJson(text)).toBe(`"\u20ac$\\u000f\\nA'B\\"\\\\\\\\\\"/"`)
  })

  test('refuses what JSON cannot hold', () => {
    const cycle: { [key: string]: JsonValue } = {}
    cycle['self'] = cycle
    const foreign = [Number.NaN, Number.POSITIVE_INFINITY, undefined, () => 1, 1n, new Map(), cycle]
    for (const value of [...foreign, '\ud800', { a: undefined }, { '\udc00': 1 }, new Date(0)]) {
      expect(() => canonicalJson(value as JsonValue)).toThrow(TypeError)
    }
  })
})

describe('work before a message is understood', () => {
  const many = (count: number, one: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => one(i)).join(',')
  const over: Readonly<Record<string, string>> = {
    'more members than any message has': `{${many(STRICT_JSON_NAMES_MAX + 1, (i) => `"${i}":1`)}}`,
    'more arrays than any message has, without a comma for each': `[${many(10_000, () => `${'['.repeat(60)}${']'.repeat(60)}`)}]`,
    'more objects than any message has': `[${many(STRICT_JSON_VALUES_MAX / 2 + 1, () => '{}')}]`,
    'arrays that nest without an end': '['.repeat(4_000_000),
    'more values than any message has': `[${many(STRICT_JSON_VALUES_MAX + 2, () => '1')}]`,
    'a number without end': `[${'1'.repeat(STRICT_JSON_DIGITS_MAX + 1)}]`,
    'a fraction without end': `[0.${'1'.repeat(STRICT_JSON_DIGITS_MAX + 1)}]`,
    'an exponent without end': `[1e${'0'.repeat(STRICT_JSON_DIGITS_MAX + 1)}]`,
  }
  for (const [what, text] of Object.entries(over)) {
    test(`stops at ${what}, valid or not`, () => {
      expect(() => parseStrictJson(text)).toThrow(OverLimitError)
      expect(() => parseStrictJson(`${text} and no JSON`)).toThrow(OverLimitError)
    })
  }

  test('does not count what stands in a string', () => {
    const text = JSON.stringify([':,'.repeat(400_000), '1'.repeat(5_000)])
    expect(() => parseStrictJson(text, { namesMax: 0, valuesMax: 2 })).not.toThrow()
  })
})
