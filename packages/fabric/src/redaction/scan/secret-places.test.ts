import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { SECRET_NAMES } from '../detectors/secret-names.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * A grammar of places for a secret, each of which SECURITY.md promises: a name of the table with
 * words around it, a notation, a value with signs in it, and escapes over any of their characters.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType: string): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const joints: readonly ((words: string) => string)[] = [
  (words) => words.replaceAll(' ', ''),
  (words) => words.replaceAll(' ', '_'),
  (words) => words.replaceAll(' ', '-'),
  (words) => words.replaceAll(' ', '.'),
  (words) => words.replaceAll(' ', '_').toUpperCase(),
  (words) => words.replaceAll(/ (\w)/g, (_, letter: string) => letter.toUpperCase()),
]
const words = SECRET_NAMES.filter(({ kind }) => kind === 'password' || kind === 'key')
  .flatMap(({ names }) => names)
  .filter((name) => /^[a-z ]+$/.test(name))
const name = fc
  .tuple(
    fc.constantFrom('', 'db_', 'DB_', 'app.', 'x-', 'prod_db_'),
    fc.constantFrom(...words),
    fc.constantFrom(...joints),
    fc.constantFrom('', '_old', '2', '_old_2', '_PROD', '_v2', '-new', '.backup'),
  )
  .map(([before, each, join, behind]) => `${before}${join(each)}${behind}`)

/** Each with the part of it that must not be left. */
const value = fc.constantFrom(
  ['hunter2Xq9vBn3kLm', 'hunter2Xq9vBn3kLm'],
  ['Tr0ub4dor&3', 'Tr0ub4dor'],
  ['correcthorsebattery', 'correcthorsebattery'],
  ['p@ss:zQ8tail!', 'zQ8tail'],
  ['S3cr3t/with/zQ8tail', 'zQ8tail'],
  ['Zq9=vBn3kLm==', 'vBn3kLm'],
  ['Ab12,Cd34zQ8tail', 'zQ8tail'],
  ['ab correct horse zQ8tail', 'zQ8tail'],
) as fc.Arbitrary<readonly [string, string]>

type Place = (name: string, value: string) => string

const word = (text: string): string => text.replaceAll(/[ &;,]/g, '_')
const texts: readonly Place[] = [
  (n, v) => `${n}=${v}`,
  (n, v) => `${n}: ${v}`,
  (n, v) => `${n} = "${v}"`,
  (n, v) => `export ${n}='${v}'`,
  (n, v) => `'${n}' => '${v}'`,
  (n, v) => `${n} := "${v}"`,
  (n, v) => `const c = { ${n}: "${v}", port: 5432 }`,
  (n, v) => `db:\n  host: x\n  ${n}: ${v}\n  port: 5\n`,
  (n, v) => `${n}: |\n  ${v}\nnext: 1\n`,
  (n, v) => `${n}=<<EOF\n${v}\nEOF\n`,
  (n, v) => `<c><${n}>${v.replaceAll('&', '&amp;')}</${n}></c>`,
  (n, v) => `<add key="${n}" value="${v.replaceAll('&', '&amp;')}"/>`,
  (n, v) => `<${n}><![CDATA[${v}]]></${n}>`,
  (n, v) => `tool --${n} ${word(v)} --x`,
  (n, v) => `tool --${n}=${word(v)} --x`,
  (n, v) => `setenv("${n}", "${v}")`,
  (n, v) => `os.environ['${n}'] = '${v}'`,
  (n, v) => `**${n}:** ${v}`,
  (n, v) => `- \`${n}\`: \`${v}\``,
  (n, v) => `https://h/p?a=1&${n}=${encodeURIComponent(v)}&b=2`,
  (n, v) => `GET / HTTP/1.1\r\nHost: a\r\n${n}: ${v}\r\n\r\n`,
  (n, v) => `the ${n} is: ${v}`,
  (n, v) => `${n} (db): ${v}`,
  (n, v) => `${n}[db]: ${v}`,
  (n, v) => `{'user': 'x', '${n}': '${v}', 'n': 1}`,
  (n, v) => `${n} = "${v.slice(0, 4)}" + "${v.slice(4)}"`,
  (n, v) => `log: ${JSON.stringify({ a: 1, [n]: v })} end`,
  (n, v) => `log ${JSON.stringify(JSON.stringify({ a: 1, [n]: v, b: 2 }))} end`,
  (n, v) => `log ${JSON.stringify({ name: n, value: v })} end`,
  (n, v) => `{'user': 'x', '${n}': ['${v}'], 'n': 1}`,
  (n, v) => `{'${n}': {'raw': '${v}'}}`,
  (n, v) => `['${n}' => ['${v}'], 'n' => 1]`,
  (n, v) => `"${n}"=>{"raw"=>"${v}"},`,
  (n, v) => `  "${n}": os.environ.get("X", "${v}"),`,
  (n, v) => `$c['${n}'] = $x ?: '${v}';`,
  (n, v) => `"${n}": sha256("${v}")`,
  (n, v) => `5" x {"${n}": ["${v}"], x}`,
  (n, v) => `- name: ${n}\n  value: |\n    ${v}\n  x: 1\n`,
  (n, v) => `- value: >-\n    ${v}\n  name: ${n}\n`,
  (n, v) => `- name: ${n}\n  value:\n    ${v}\n- name: x\n`,
  (n, v) => `env {\n  name = "${n}"\n  value = <<EOT\n${v}\nEOT\n}\n`,
  (n, v) => `{ name: '${n}', value: ["${v}"] }`,
  (n, v) => `- name: ${n}\n  value: "${v.slice(0, 4)}" +\n    "${v.slice(4)}"\n`,
  (n, v) => `{ value: "my\n${v}", name: '${n}' }`,
  (n, v) => `${n}: !!str &p |\n  ${v}\nnext: 1\n`,
  (n, v) => `'${n}' => <<<'EOT'\n  EOTx\n${v}\n  EOT, 'n' => 1`,
  (n, v) => `${n}=<<EOF\nEOFx\n  EOF\n${v}\nEOF\n`,
  (n, v) => `${n} = ("${v.slice(0, 4)}"\n  "${v.slice(4)}")`,
  (n, v) => `${n} = "${v.slice(0, 4)}" & _\n  "${v.slice(4)}"`,
  (n, v) => `let ${n} = r#"my\n"${v}"#;`,
  (n, v) => `const ${n}: &'static str = "${v}";`,
  (n, v) => `${n}: Annotated[str, Field(min_length=8)] = "${v}"`,
]

const members: readonly ((name: string, value: string) => unknown)[] = [
  (n, v) => ({ [n]: v }),
  (n, v) => ({ a: [{ [n]: [v, v] }] }),
  (n, v) => ({ [n]: { v1: { v2: v } } }),
  (n, v) => ({ name: n, value: v }),
  (n, v) => ({ value: v, key: n, x: 1 }),
  (n, v) => ({ args: [`--${n}`, v, '--z'] }),
  (n, v) => ({ args: [`--${n}=${v}`, '--z'] }),
  (n, v) => ({ env: [`${n}=${v}`] }),
  (n, v) => ({ s: JSON.stringify({ q: [{ [n]: v }] }) }),
  (n, v) => ({ s: JSON.stringify({ q: [{ name: n, value: v }] }) }),
  (n, v) => ({ s: JSON.stringify({ t: `x ${JSON.stringify({ [n]: v })}` }) }),
  (n, v) => [{ op: 'add', path: `/a/${n}`, value: v }],
  (n, v) => [{ ParameterKey: n, ParameterValue: v }],
  (n, v) => ({ name1: 'x', value1: 'y', name2: n, value2: v }),
  (n, v) => ({ config_value: { a: v }, config_key: n }),
  (n, v) => ({ s: JSON.stringify({ settingKey: n, settingValue: v }) }),
  (n, v) => ({ [`${n}[github]`]: v }),
  (n, v) => ({ [`a[${n}][x][0]`]: [v] }),
  (n, v) => ({ [n]: { android: v, grid: { runtime: v } } }),
]

const hex = (sign: string, width: number): string =>
  sign.charCodeAt(0).toString(16).padStart(width, '0')

interface Escape {
  of(sign: string): string
  /** A sign that must always be escaped, because it would begin an escape itself. */
  readonly own: string
}
const escapes: readonly Escape[] = [
  { own: '\\', of: (sign) => `\\u${hex(sign, 4)}` },
  { own: '\\', of: (sign) => `\\x${hex(sign, 2)}` },
  { own: '\\', of: (sign) => `\\u{${hex(sign, 1)}}` },
  { own: '\\', of: (sign) => `\\U${hex(sign, 8)}` },
  { own: '\\', of: (sign) => `\\${sign.charCodeAt(0).toString(8).padStart(3, '0')}` },
  { own: '%', of: (sign) => `%${hex(sign, 2)}` },
  { own: '%', of: (sign) => `%u${hex(sign, 4)}` },
  { own: '&', of: (sign) => `&#${sign.charCodeAt(0)};` },
  { own: '&', of: (sign) => `&#x${hex(sign, 2)};` },
  { own: '', of: (sign) => String.fromCharCode(sign.charCodeAt(0) + 0xfee0) },
  { own: '', of: (sign) => `${sign}\u200b` },
]
/** Selects the characters to escape, by their code modulo the length. */
const pattern = fc.array(fc.boolean(), { minLength: 1, maxLength: 12 })
const layer = fc.record({ by: fc.constantFrom(...escapes), which: pattern })
type Layer = typeof layer extends fc.Arbitrary<infer T> ? T : never

function escape(text: string, { by, which }: Layer): string {
  const isChosen = (sign: string): boolean =>
    sign === by.own || which[sign.charCodeAt(0) % which.length] === true
  return text.replaceAll(/[A-Za-z0-9\\%&]/g, (sign) => (isChosen(sign) ? by.of(sign) : sign))
}

/** Of a longer name the end alone is judged. */
const isRead = (name: string): boolean => Buffer.byteLength(name) <= 240

const seeded = { numRuns: 2_000, seed: 20_261 } as const
const text = fc
  .tuple(name, value, fc.constantFrom(...texts))
  .map(([each, [secret, rest], place]) => ({ text: place(each, secret), rest }))
const form = fc.tuple(name, value).map(([each, [secret, rest]]) => ({ name: each, secret, rest }))

test('a secret is found by its name in every notation of text', () => {
  fc.assert(
    fc.property(text, (each) => {
      expect(mask(each.text, 'text/plain'), each.text).not.toContain(each.rest)
      const body = JSON.stringify({ note: each.text })
      expect(mask(body, 'application/json'), each.text).not.toContain(each.rest)
    }),
    seeded,
  )
})

test('a secret is found by its name in every place of JSON', () => {
  fc.assert(
    fc.property(name, value, fc.constantFrom(...members), (each, [secret, rest], member) => {
      const body = JSON.stringify(member(each, secret))
      expect(mask(body, 'application/json'), body).not.toContain(rest)
    }),
    seeded,
  )
})

test.each([1, 2])('escapes in %i layers hide neither a name nor a value', (count) => {
  const layers = fc.array(layer, { minLength: count, maxLength: count })
  fc.assert(
    fc.property(text, layers, (each, taken) => {
      const hidden = taken.reduce(escape, each.text)
      const masked = mask(hidden, 'text/plain')
      expect(masked, hidden).not.toContain(taken.reduce(escape, each.rest))
      expect(masked, hidden).toContain('CREDENTIAL')
    }),
    seeded,
  )
  fc.assert(
    fc.property(form, layers, (each, taken) => {
      fc.pre(isRead(taken.reduce(escape, each.name)))
      const hide = (part: string): string => encodeURIComponent(taken.reduce(escape, part))
      const value = `${hide('value')}=${hide(each.secret)}`
      for (const body of [
        `${hide('name')}=${hide(each.name)}&${value}`,
        `${hide(each.name)}=${hide(each.secret)}`,
        `${hide(`user[${each.name}][x]`)}=${hide(each.secret)}`,
      ])
        expect(mask(body, 'application/x-www-form-urlencoded'), body).toContain('CREDENTIAL')
    }),
    seeded,
  )
  fc.assert(
    fc.property(form, fc.constantFrom(...members), layers, (each, member, taken) => {
      fc.pre(isRead(taken.reduce(escape, each.name)))
      const hide = (part: string): string => taken.reduce(escape, part)
      const body = JSON.stringify(member(hide(each.name), hide(each.secret)))
      expect(mask(body, 'application/json'), body).toContain('CREDENTIAL')
    }),
    seeded,
  )
})
