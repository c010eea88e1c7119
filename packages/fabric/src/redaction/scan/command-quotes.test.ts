import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from './create-redactor.ts'

/* A password in a command line is read as a shell reads it, whatever program quoted it. */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType = 'text/plain'): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const seeded = { numRuns: 1_500, seed: 20_263 } as const

type Quote = (word: string) => string
/** `shlex.quote` of Python, `shellescape`, `printf %q` and two by hand. */
const quotes: readonly Quote[] = [
  (word) => `'${word.replaceAll("'", `'"'"'`)}'`,
  (word) => `'${word.replaceAll("'", `'\\''`)}'`,
  (word) => `"${word.replaceAll(/["\\$`]/g, '\\$&')}"`,
  (word) => word.replaceAll(/[^A-Za-z0-9]/g, '\\$&'),
  (word) => `$'${word.replaceAll(/['\\]/g, '\\$&')}'`,
]

type Command = (password: string, quote: Quote) => string
const commands: readonly Command[] = [
  (password, quote) => `mysql -p${quote(password)} x`,
  (password, quote) => `mysql ${quote(`-p${password}`)} x`,
  (password, quote) => `curl -u jane:${quote(password)} https://x`,
  (password, quote) => `curl -u ${quote(`jane:${password}`)} https://x`,
  (password, quote) => `curl -d ${quote(`it's "a"`)} -u ${quote(`jane:${password}`)} https://x`,
  (password, quote) => `sshpass -p ${quote(password)} ssh h`,
  (password, quote) => `tool --user=jane:${quote(password)} x`,
  (password, quote) => `openssl rsa -passin ${quote(`pass:${password}`)} -in k`,
  (password, quote) => `smbclient //h/s -U ${quote(`jane%${password}`)} x`,
  (password, quote) => `ldapsearch -x -w ${quote(password)} -b x`,
  (password, quote) => `docker login -u jane -p ${quote(password)} r`,
]

const signs = Array.from(' \'"#$&%:;,=!?*(){}[]<>|~^+-/.')
const password = fc
  .tuple(fc.array(fc.constantFrom(...signs), { maxLength: 3 }), fc.constantFrom(...signs, "'", "'"))
  .map(([first, sign]) => `${first.join('')}Ab1dEf${sign}zQ8tail`)
  // `jane://…` is a URL.
  .filter((each) => !each.startsWith('//'))

test('of a quoted password nothing is left, in a command and in a command within one', () => {
  const place = fc.constantFrom<(command: string, quote: Quote) => string>(
    (command) => command,
    (command, quote) => `ssh h ${quote(command)}`,
  )
  const choices = [password, fc.constantFrom(...commands), fc.constantFrom(...quotes)] as const
  fc.assert(
    fc.property(...choices, fc.constantFrom(...quotes.slice(0, 3)), place, (word, ...how) => {
      const [command, quote, outer, nested] = how
      const text = nested(command(word, quote), outer)
      for (const part of ['Ab1dEf', 'zQ8tail']) {
        expect(mask(text), text).not.toContain(part)
        const body = JSON.stringify({ text })
        expect(mask(body, 'application/json'), text).not.toContain(part)
      }
    }),
    seeded,
  )
})

describe('what stands around the password stays', () => {
  test.each([
    [`mysql -p'Ab1'"'"'zQ8tail' db`, `mysql -p'[CREDENTIAL]' db`],
    [`mysql -p'Ab1'zQ8tail db`, 'mysql -p[CREDENTIAL] db'],
    [`curl -u 'jane:Ab1'"'"'zQ8tail' https://x`, `curl -u 'jane:[CREDENTIAL]' https://x`],
    [`sshpass -p ''"'"'zQ8tail' ssh h`, `sshpass -p ''[CREDENTIAL] ssh h`],
    [`{"cmd": "mysql -pzQ8tail", "b": "x y"}`, `{"cmd": "mysql -p[CREDENTIAL]", "b": "x y"}`],
    [`sh -c "mysql -p'zQ8tail x' db"`, `sh -c "mysql -p'[CREDENTIAL]' db"`],
    [`mysql -p"zQ8tail`, `mysql -p"[CREDENTIAL]`],
    [`mysql -p'zQ8\ntail' db`, `mysql -p'[CREDENTIAL]' db`],
  ])('%s', (text, masked) => {
    expect(mask(text)).toBe(masked)
    expect(mask(masked)).toBe(masked)
  })
})

test.each([
  'mysql -p"$PASSWORD" db',
  `mysql -p'$PASSWORD' db`,
  'mysql -p"$(cat /run/secrets/db)" db',
  'mysql -p$(cat /run/secrets/db) db',
  `run("mysql -u root -p", "x")`,
  `subprocess.run('mysql -u root -p', shell=True, cwd="x y")`,
  `it's said that curl -u needs "user:password"`,
  'curl -u "$USER:$PASSWORD" https://x',
  `docker run -u '1000':'1000' image`,
  `curl -u ''"'"'' https://x`,
])('%s holds no password', (text) => {
  expect(mask(text)).toBe(text)
})
