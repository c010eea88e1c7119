import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { DATA_CLASSES } from '../redactor.ts'
import { createRedactor } from '../scan/create-redactor.ts'

const limits = { findingsMax: 1_000 }
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(7), limits })
const order = { mask: DATA_CLASSES, block: [] }

function mask(body: string, contentType: string): string {
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(answer.code)
  return new TextDecoder().decode(answer.body)
}

/** The ways in which a JSON text is inside of a message, and back. */
const carriers: Readonly<Record<string, (inner: string) => string>> = {
  'a text': (inner) => mask(inner, 'text/plain'),
  'a JSON string': (inner) =>
    (JSON.parse(mask(JSON.stringify({ a: [inner] }), 'application/json')) as { a: [string] }).a[0],
  'a JSON string in JSON in a string': (inner) => {
    const text = mask(JSON.stringify([JSON.stringify({ b: inner })]), 'application/json')
    return (JSON.parse((JSON.parse(text) as [string])[0]) as { b: string }).b
  },
  'a form': (inner) =>
    decodeURIComponent(
      mask(`d=${encodeURIComponent(inner)}`, 'application/x-www-form-urlencoded').slice(2),
    ),
}

const shape = (node: unknown): unknown => {
  if (Array.isArray(node)) return node.map(shape)
  if (typeof node !== 'object' || node === null) return 0
  return Object.values(node)
    .map((child) => JSON.stringify(shape(child)))
    .toSorted()
}

describe.each(Object.entries(carriers))('JSON inside %s', (_, carry) => {
  test.each([
    ['{"card":4111111111111111,"x":[1,true,null]}', '{"card":"[CARD *1111]","x":[1,true,null]}'],
    ['{"n":4111111111111111.0}', '{"n":"[CARD *1111]"}'],
    ['[-4111111111111111]', '["[CARD *1111]"]'],
    ['{"id":4155552671,"phone":4155552671}', '{"id":4155552671,"phone":"[PHONE *2671]"}'],
    ['{"card":4111111111111111,"card":1}', '{"card":"[CARD *1111]","card":1}'],
    ['{"ssn": 536904399 }', '{"ssn": "[SSN]" }'],
    ['{"a":"pay 4111 1111 1111 1111 now"}', '{"a":"pay [CARD *1111] now"}'],
    ['[4111,1111,1111,1111]', '["[CARD *1111]","[CARD *1111]","[CARD *1111]","[CARD *1111]"]'],
    ['{"a":1}\n{"c":4111111111111111}\n', '{"a":1}\n{"c":"[CARD *1111]"}\n'],
    ['"{\\"n\\":4111111111111111}"', '"{\\"n\\":\\"[CARD *1111]\\"}"'],
    [' "[4111111111111111]"\n', ' "[\\"[CARD *1111]\\"]"\n'],
    ['"x {\\"n\\":4111111111111111}"', '"x {\\"n\\":\\"[CARD *1111]\\"}"'],
    ['said "{\\"n\\":4111111111111111}", twice', 'said "{\\"n\\":\\"[CARD *1111]\\"}", twice'],
    ['"a"\n"{\\"n\\":4111111111111111}"\n', '"a"\n"{\\"n\\":\\"[CARD *1111]\\"}"\n'],
    ['"{"n":4111111111111111}"', '"{"n":"[CARD *1111]"}"'],
    ['"see {"n":4111111111111111}', '"see {"n":"[CARD *1111]"}'],
    ['"a {"n":4111111111111111,"b":"c"} d', '"a {"n":"[CARD *1111]","b":"c"} d'],
    ['got {"c":4111111111111111}!', 'got {"c":"[CARD *1111]"}!'],
    ['{4111 1111 1111 1111} [1]', '{[CARD *1111]} [1]'],
    ['[4111 1111 1111 1111', '[[CARD *1111]'],
  ])('%s', (inner, expected) => {
    expect(carry(inner)).toBe(expected)
  })

  test('names that hold findings stay different names', () => {
    const masked = carry('{"4111111111111111":1,"5555555555554444":2}')
    expect(masked).not.toMatch(/\d{4}/)
    expect(Object.values(JSON.parse(masked) as object)).toEqual([1, 2])
  })

  test('stays JSON of the same shape, whatever is in it', () => {
    const leaf = fc.oneof(
      fc.constantFrom(4111111111111111, -4111111111111111, 4155552671, 536904399, 5, true, null),
      fc.constantFrom(
        '4111',
        '1111',
        '4111 1111',
        'jane@example.org',
        '"',
        '\\',
        '{"a":4111111111111111}',
      ),
      fc.array(fc.constantFrom(4111, 1111, 4, 1), { minLength: 4, maxLength: 16 }),
      fc.string(),
    )
    const name = fc.oneof(
      fc.constantFrom('phone', 'ssn', 'card', 'pW', 'password', 'apiKey', '4111111111111111'),
      fc.string(),
    )
    const safeName = name.filter((text) => text !== '__proto__')
    const node = fc.letrec((tie) => ({
      node: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.array(tie('node'), { maxLength: 4 }),
        fc.dictionary(safeName, tie('node'), { maxKeys: 4 }),
      ),
    })).node
    fc.assert(
      fc.property(fc.array(node), (value) => {
        const inner = JSON.stringify(value)
        const masked = carry(inner)
        expect(shape(JSON.parse(masked))).toEqual(shape(JSON.parse(inner)))
        expect(masked).not.toContain('4111111111111111')
      }),
      { numRuns: 300 },
    )
  })
})

test('markers count against the limit of findings, however few findings need them', () => {
  const row = `[${Array.from('4111111111111111').join(',')}]`
  const body = JSON.stringify(Array.from({ length: 100 }, () => row))
  expect(() => mask(body, 'application/json')).toThrow('MESSAGE_TOO_LARGE')
})

test('a text made of many openings is read once', () => {
  for (const unit of ['[', '{', '{"a":', '["', '[[1],', '{"a":1,"a":', '[]', '"[1]",']) {
    const inner = `4111111111111111 ${unit.repeat(300_000 / unit.length)}`
    expect(mask(inner, 'text/plain')).toContain('[CARD *1111]')
    expect(mask(JSON.stringify([inner]), 'application/json')).toContain('[CARD *1111]')
  }
})
