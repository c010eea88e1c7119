import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { pairRole, partnersOf, type RowKey } from '../detectors/pair-roles.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * The promise of SECURITY.md, "A name that is a value itself": the value next to it is found in
 * every container that has pairs, in either order, with other fields between, and with nothing left
 * of it.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType: string): string {
  const order = { mask: ['credential', 'card'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const form = 'application/x-www-form-urlencoded'
const json = 'application/json'

/** Two keys of one frame. */
const keys: readonly (readonly [naming: string, holding: string])[] = [
  ['name', 'value'],
  ['key', 'val'],
  ['k', 'v'],
  ['field', 'default'],
  ['Name', 'Value'],
  ['header', 'values'],
  ['ParameterKey', 'ParameterValue'],
  ['name1', 'value1'],
  ['items[0][name]', 'items[0][value]'],
  ['item.2.key', 'item.2.value'],
]
const attributes = keys.filter(([naming]) => !/[[.]/.test(naming))
const name = fc.constantFrom(
  ...['password', 'DB_PASSWORD', 'pass phrase', 'clientSecret', 'Passwort'],
  ...['Login Password', 'user[password]', 'db/password', 'db.admin/passwd', 'The new password'],
)
const value = fc.stringMatching(/^correct[a-z]{2,8}[A-Za-z0-9]{0,6}$/)
const pair = { name, value, isFirst: fc.boolean(), filler: fc.constantFrom('', 'type', 'note') }
interface Pair {
  readonly name: string
  readonly value: string
  readonly isFirst: boolean
  readonly filler: string
}

/** The two fields in their order, with another between them. */
function fields(
  [naming, holding]: readonly [string, string],
  { name, value, isFirst, filler }: Pair,
): readonly (readonly [key: string, value: string])[] {
  const own = [naming, name] as const
  const other = [holding, value] as const
  const between = filler === '' ? [] : [[filler, 'x'] as const]
  return isFirst ? [own, ...between, other] : [other, ...between, own]
}

const texts: readonly ((rows: readonly (readonly [string, string])[]) => string)[] = [
  (rows) => rows.map(([key, text]) => `${key}=${text}`).join('\n'),
  (rows) => rows.map(([key, text]) => `${key} = ${text}`).join('\r\n'),
  (rows) => rows.map(([key, text]) => `${key}: ${text}`).join('\n'),
  (rows) => `[one]\n${rows.map(([key, text]) => `${key}=${text}`).join('\n')}\n\n[two]\na=b`,
  (rows) => `- ${rows.map(([key, text]) => `${key}: "${text}"`).join('\n  ')}`,
  (rows) => `{${rows.map(([key, text]) => `${key}: '${text}'`).join(', ')}}`,
  (rows) => `{${rows.map(([key, text]) => `"${key}" => "${text}"`).join(', ')}}`,
  (rows) => rows.map(([key, text]) => `${key}="${text}"`).join('; '),
  (rows) =>
    `https://host.example/a?${rows.map(([key, text]) => `${key}=${encodeURIComponent(text)}`).join('&')}`,
]

describe('a name that is a value', () => {
  const seeded = { numRuns: 400, seed: 20_261 } as const

  test('is distinguished from its value in forms, in either order', () => {
    fc.assert(
      fc.property(fc.record(pair), fc.constantFrom(...keys), (each, key) => {
        const rows = fields(key, each).map(
          ([key, text]) => `${encodeURIComponent(key)}=${encodeURIComponent(text)}`,
        )
        const body = ['user=jane', ...rows, 'keep=this'].join('&')
        const masked = mask(body, form)
        expect(masked, body).not.toContain(each.value)
        expect(masked).toContain('user=jane')
        expect(masked).toContain('keep=this')
        expect(mask(masked, form)).toBe(masked)
      }),
      seeded,
    )
  })

  test('is distinguished from its value in lines, lists and queries', () => {
    fc.assert(
      fc.property(
        fc.record(pair),
        fc.constantFrom(...keys),
        fc.constantFrom(...texts),
        (each, key, write) => {
          const text = write(fields(key, each))
          const masked = mask(text, 'text/plain')
          expect(masked, text).not.toContain(each.value)
          expect(mask(masked, 'text/plain')).toBe(masked)
          const nested = mask(JSON.stringify({ note: text }), json)
          expect(nested, text).not.toContain(each.value)
          expect(() => JSON.parse(nested) as unknown).not.toThrow()
          const deeper = mask(JSON.stringify({ note: JSON.stringify({ note: text }) }), json)
          expect(deeper, text).not.toContain(each.value)
          expect(() => JSON.parse(deeper) as unknown).not.toThrow()
          const quotes = text.includes("'") ? '`' : "'"
          expect(mask(`note = ${quotes}${text}${quotes};`, 'text/plain'), text).not.toContain(
            each.value,
          )
          expect(mask(`q=${encodeURIComponent(text)}`, form)).not.toContain(each.value)
        },
      ),
      seeded,
    )
  })

  test('is distinguished from its value in attributes and elements', () => {
    const markup: readonly ((rows: readonly (readonly [string, string])[]) => string)[] = [
      (rows) => `<add ${rows.map(([key, text]) => `${key}="${text}"`).join(' ')}/>`,
      (rows) => `<add ${rows.map(([key, text]) => `${key} = '${text}'`).join('\n')} >`,
      (rows) => `<p>${rows.map(([key, text]) => `<${key}>${text}</${key}>`).join('\n ')}</p>`,
      (rows) => rows.map(([key, text]) => `<x:${key}>${text}</x:${key}>`).join(''),
      (rows) => rows.map(([key, text]) => `<${key}><![CDATA[${text}]]></${key}>`).join('<!-- -->'),
    ]
    fc.assert(
      fc.property(
        fc.record(pair),
        fc.constantFrom(...attributes),
        fc.constantFrom(...markup),
        (each, key, write) => {
          const text = `<a>${write(fields(key, each))}<keep>this</keep></a>`
          const masked = mask(text, 'text/xml')
          expect(masked, text).not.toContain(each.value)
          expect(masked).toContain('<keep>this</keep></a>')
          expect(mask(masked, 'text/xml')).toBe(masked)
        },
      ),
      seeded,
    )
  })

  test('is distinguished from its value in rows of two cells and in parts of a multipart text', () => {
    fc.assert(
      fc.property(name, value, fc.constantFrom(',', ';', '\t', '|'), (name, value, sign) => {
        for (const text of [
          `name${sign}value\n${name}${sign}${value}\nuser${sign}jane`,
          `"user"${sign}"jane"\n"${name}"${sign}"${value}"`,
          `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n--b--`,
          `--b\nContent-Disposition: form-data; name="${name}"\nContent-Type: text/plain\n\n${value}\n--b--`,
        ]) {
          const masked = mask(text, 'text/plain')
          expect(masked, text).not.toContain(value)
          expect(mask(masked, 'text/plain')).toBe(masked)
        }
      }),
      { numRuns: 200, seed: 20_261 },
    )
  })

  test.each([
    ['name=user&value=alice&name=password&value=correcthorse', form, 'value=alice'],
    [
      '- name: host\n  value: db1.example\n- name: password\n  value: correcthorse',
      'text/yaml',
      'db1.example',
    ],
    [
      '<a><p><name>user</name><value>alice</value></p><p><name>password</name><value>correcthorse</value></p></a>',
      'text/xml',
      'alice',
    ],
    [
      '[{name: "user", value: "alice"}, {name: "password", value: "correcthorse"}]',
      'text/plain',
      'alice',
    ],
  ])('keeps the values of other names: %s', (body, type, kept) => {
    const masked = mask(body, type)
    expect(masked).not.toContain('correcthorse')
    expect(masked).toContain(kept)
  })

  test.each([
    'Columns: password, email and name.\nNext, the other.',
    'user,password,email\nname,and,so on',
    'type: password\nlabel: Password\nrequired: true',
    '<label for="password">Password</label><input name="user" value="jane">',
    'name: password\n\nvalue: of the customer',
  ])('leaves alone what has no value: %j', (text) => {
    expect(mask(text, 'text/plain')).toBe(text)
  })
})

describe('partners in a row of keys', () => {
  const row = (keys: string): readonly RowKey[] =>
    Array.from(keys, (key) => ({ kind: key === 'n' ? 'naming' : 'holding', frame: '', key }))
  test.each([
    ['nv', 0, [1]],
    ['vn', 1, [0]],
    ['nvnv', 2, [3]],
    ['nvnv', 0, [1]],
    ['vnvn', 1, [0, 2]],
    ['vnvn', 3, [2]],
    ['nvn', 2, [1]],
    ['nvvn', 0, [1, 2]],
    ['n', 0, []],
  ] as const)('%s at %i', (keys, at, expected) => {
    expect(partnersOf(row(keys), at)).toEqual(expected)
  })

  test.each([
    ['name', 'naming', ''],
    ['items[0][value]', 'holding', 'items.0'],
    ['ParameterKey', 'naming', 'parameter'],
    ['value_12', 'holding', '12'],
    ['paramvalue', 'holding', 'param'],
  ])('%s is one of a pair', (key, kind, frame) => {
    expect(pairRole(key)).toEqual({ kind, frame })
  })

  test.each(['usernames', 'valued', 'nameplate', 'key_file', '', 'x'.repeat(200)])(
    '%s is none',
    (key) => {
      expect(pairRole(key)).toBeNull()
    },
  )
})
