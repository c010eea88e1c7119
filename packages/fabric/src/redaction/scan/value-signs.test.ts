import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * A generated password begins with any sign, and none of them is taken for a part of the notation.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType = 'text/plain'): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const secret = 'MwXt8fdTPmxI'
const signs = Array.from('!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~')
const beginnings = [...signs, ...signs.flatMap((first) => signs.map((next) => first + next))]

/** Each with the signs that end a value there, or belong to the notation itself. */
const notations: Readonly<Record<string, readonly [(value: string) => string, ends: string]>> = {
  'a line of an environment': [(value) => `DB_PASSWORD=${value}\nb=c`, ''],
  'a line of settings': [(value) => `password = ${value}\nb = c`, ''],
  'a line of YAML': [(value) => `password: ${value}\nb: c`, ''],
  'the end of a text': [(value) => `password: ${value}`, ''],
  'a header': [(value) => `X-Api-Key: ${value}`, ''],
  'an option with its value': [(value) => `run --password=${value} --x`, ''],
  'an option behind a blank': [(value) => `run --password ${value} --x`, '-'],
  'a connection string': [(value) => `Server=x;Password=${value};DB=y`, ''],
  'a pair among others': [(value) => `user=j password=${value} x=y`, ''],
  'a query': [(value) => `https://x/?a=b&password=${value}`, '&#"'],
  'a name with an index': [(value) => `password[db]=${value}`, ''],
  'a name in quotes': [(value) => `"DB_PASSWORD"=${value}`, ''],
  'a name in a command': [(value) => `docker run -e DB_PASSWORD=${value} image`, ''],
  'the line below': [(value) => `password:\n  ${value}\nb: c\n`, ''],
}

describe.each(Object.entries(notations))('in %s', (_, [write, ends]) => {
  test('a secret may begin with any two signs', () => {
    const isEnd = (beginning: string): boolean =>
      Array.from(ends).some((x) => beginning.includes(x))
    const left = beginnings
      .filter((beginning) => !isEnd(beginning))
      .filter((beginning) => {
        const text = write(beginning + secret)
        const member = mask(JSON.stringify({ text }), 'application/json')
        return mask(text).includes(secret) || member.includes(secret)
      })
    expect(left).toEqual([])
  })
})

test.each([
  { args: [`--password=-${secret}`, '--x'] },
  { args: [`--password=--${secret}`] },
  { env: [`DB_PASSWORD==${secret}`, `API_KEY=~${secret}`] },
  { command: `run --password=-${secret} --x` },
])('%j is masked', (body) => {
  expect(mask(JSON.stringify(body), 'application/json')).not.toContain(secret)
})

test.each([
  'DB_PASSWORD==correcthorse',
  'export DB_PASSWORD=~correcthorse',
  'Server=x;Password=~correcthorse;DB=y',
  'DB_PASSWORD==correcthorse\nb=c',
  'password: <<correcthorse',
])('%j is masked: a word behind the sign', (text) => {
  expect(mask(text)).not.toContain('correcthorse')
})

test('a here-document that nothing ends is masked with the line that begins it', () => {
  const text = `password=<<${secret}\nfirst line\nsecond line`
  expect(mask(text)).toBe('password=[CREDENTIAL]\n[CREDENTIAL]')
})

/** Words that may follow a name in a rule of CSS, and a path, a comment or a keyword of code. */
const words =
  'root: active: isabella. lastpass, notebook. afternoon. island> firstname. whereami. not: hover, focus. before{ first. :hover{ disabled: checked. placeholder. nth-child(2). visited,'.split(
    ' ',
  )

const places: Readonly<Record<string, (value: string) => string>> = {
  'a line of YAML': (value) => `password: ${value}`,
  'a line without a blank': (value) => `password:${value}`,
  'a class and a value': (value) => `.password: ${value}`,
  'a class without a blank': (value) => `.password:${value}`,
  'a line of an environment': (value) => `DB_PASSWORD=${value}\nb=c`,
  'an option': (value) => `run --password=${value}`,
  'a connection string': (value) => `Server=x;Password=${value};y=z`,
  'a query': (value) => `https://x/?password=${value}`,
}

describe.each(Object.entries(places))('in %s', (_, write) => {
  test('a secret may begin like a selector of CSS', () => {
    const left = words.filter((word) => {
      const text = write(word + secret)
      return [mask(text), mask(JSON.stringify({ text }), 'application/json')].some((masked) =>
        masked.includes(secret),
      )
    })
    expect(left).toEqual([])
  })
})

test.each([
  `#password {${secret}}`,
  `see .password {${secret}} there`,
  `/etc/password: ${secret}`,
  `see /etc/db/password=${secret}`,
  `password=/*${secret}*/`,
  `password: /* ${secret} */ none`,
  `the password is x=${secret}`,
])('%j is masked: an exemption for code needs its own context', (text) => {
  expect(mask(text)).not.toContain(secret)
  expect(mask(JSON.stringify({ text }), 'application/json')).not.toContain(secret)
})
