import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { VARIANT_WORDS } from '../detectors/secret-names.ts'
import { createRedactor } from './create-redactor.ts'

/* An element under the name of a secret is masked whatever its tag and its content look like. */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType = 'text/plain'): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

/** Masks the text as it is, as XML, and as a string of JSON. */
const masks = (text: string): readonly string[] => [
  mask(text),
  mask(text, 'text/xml'),
  mask(JSON.stringify({ a: text }), 'application/json'),
]

const seeded = { numRuns: 600, seed: 20_262 } as const
const secret = 'Hunter2Xyz99'

describe('an attribute takes nothing away from its element', () => {
  const names = ['encrypted', 'type', 'id', 'xml:lang', 'encoding', ...VARIANT_WORDS]
  const states = ['false', 'true', 'no', '0', '', 'none', 'base64', 'sha256', 'main']
  const attribute = fc
    .tuple(fc.constantFrom(...names), fc.constantFrom(' ', '\n  '), fc.constantFrom(...states))
    .chain(([name, blank, state]) =>
      fc
        .constantFrom(`"${state}"`, `'${state}'`, ...(state === '' ? [] : [state]))
        .map((value) => `${blank}${name}=${value}`),
    )
  const contents = [
    secret,
    `\n  ${secret}\n`,
    `correct horse battery ${secret}`,
    `<value>${secret}</value>`,
    `<![CDATA[${secret}]]>`,
    `<!-- ${secret} -->`,
  ]
  const element = fc
    .tuple(
      fc.constantFrom('password', 'ns:dbPassword', 'api-key', 'clientSecret'),
      fc.array(attribute, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(...contents),
    )
    .map(([name, attributes, content]) => `<${name}${attributes.join('')}>${content}</${name}>`)

  test('its content is masked behind any of them', () => {
    fc.assert(
      fc.property(element, (text) => {
        for (const masked of masks(`<c><user>jane</user>${text}</c>`)) {
          expect(masked, text).not.toContain(secret)
          expect(masked).toContain('<user>jane</user>')
        }
      }),
      seeded,
    )
  })

  test.each(['correct horse battery staple', '\ncorrect horse battery staple\n'])(
    'and so are words: %j',
    (words) => {
      expect(mask(`<password encrypted="false">${words}</password>`)).not.toContain('horse')
    },
  )
})

test.each([
  `<password value="${secret}"/>`,
  `<password id="1" value="${secret}"/>`,
  `<password old="abcd1x" new="${secret}"/>`,
  `<password value="abcd1x">${secret}</password>`,
  `<password value="${secret}">abcd1x</password>`,
  `<password data="${secret}"/>`,
  `<password encrypted="${secret}"/>`,
  `<password name="x" value="${secret}">`,
  `<password value=\\"${secret}\\"/>`,
  `<password current="${secret}`,
  `<user password="${secret}" old="x">n</user>`,
  `<property name="password" value="x1y2z3">${secret}</property>`,
  `<property name="password" text="a note1x">${secret}</property>`,
  `{ name: "password=${secret}", value: "abc1def" }`,
  `<secrets><entry value="${secret}"/></secrets>`,
])('%j is masked: of two readings both count', (text) => {
  for (const masked of masks(text)) expect(masked).not.toContain(secret)
})

test('the marks of a tag stay as they are', () => {
  const text = `<c><password encoded="base64" id='1'>${secret}</password><x>y</x></c>`
  expect(mask(text)).toBe(text.replace(secret, '[CREDENTIAL]'))
})

test.each([
  '<password encrypted="false"/>',
  '<password encoded="base64" hash="sha256"></password>',
  '<password encrypted="true" db="main">string</password>',
  '<password value="" old=""/>',
  '<password required="true" type="string" minLength="8"/>',
  '<property name="password" value="">Password</property>',
  '<secret id="db" value="abc"><a>b</a></secret>',
  '<password><property name="hash" value="bcrypt"/><property name="rounds" value="12"/></password>',
])('%j holds no secret', (text) => {
  for (const masked of [mask(text), mask(text, 'text/xml')]) expect(masked).toBe(text)
})

describe('in CDATA nothing is a tag', () => {
  const part = fc.constantFrom('<', '>', ']', '&', '<12', '</', '<!--', ' ', 'ab', '<b>', '"')
  const text = fc
    .tuple(fc.array(part, { maxLength: 6 }), fc.array(part, { maxLength: 4 }))
    .map(([before, behind]) => `${before.join('')}${secret}${behind.join('')}`)
    .filter((each) => !each.includes(']]>'))
  test('with any text around the secret', () => {
    fc.assert(
      fc.property(text, fc.constantFrom('', '\n', '<!-- a -->'), (value, around) => {
        const element = `<password>${around}<![CDATA[${value}]]>${around}</password>`
        for (const masked of masks(`<c>${element}</c>`)) expect(masked, value).not.toContain(secret)
      }),
      seeded,
    )
  })

  test('and its marks stay around what is masked', () => {
    const text = `<password><![CDATA[ab<12]${secret}]]]></password>`
    expect(mask(text)).toBe('<password><![CDATA[[CREDENTIAL]]]></password>')
  })
})

test.each([
  `<password>ab<${secret}></password>`,
  `<password><!-- ${secret} --></password>`,
  `<password><a/><!--\n${secret}\n--></password>`,
])('%j is masked: only what is markup is left out of what is judged', (text) => {
  for (const masked of masks(text)) expect(masked).not.toContain(secret)
})

test.each([
  '<password><minLength>8</minLength></password>',
  '<password><!-- set by the operator --></password>',
  '<password><![CDATA[]]></password>',
  '<password><![CDATA[string]]></password>',
])('%j holds no secret in markup', (text) => {
  for (const masked of [mask(text), mask(text, 'text/xml')]) expect(masked).toBe(text)
})

test('an element of many openings of CDATA and comments is read once', () => {
  for (const opening of ['<![CDATA[', '<!--', '<![CDATA[<!--', '<', '<a1b2c3>']) {
    const text = `<password>${opening.repeat(20_000)}]]>--></password>`
    expect(() => mask(text)).not.toThrow()
  }
})
