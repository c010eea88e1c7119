import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from '../scan/create-redactor.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })
const order = { mask: ['credential'], block: [] }
const secret = 'hunter2Hunter2'

function mask(body: string, contentType = 'text/plain'): string {
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(answer.detail)
  return new TextDecoder().decode(answer.body)
}

describe('a secret is found by its name in text', () => {
  test.each([
    `password=${secret}`,
    `password: ${secret}`,
    `Password : "${secret}"`,
    `PASSWORD='${secret}'`,
    `pAsSwOrD => '${secret}'`,
    `{'password': '${secret}', 'user': 'jane'}`,
    `{password: "${secret}"}`,
    `{"user":"jane","password":"${secret}",}`,
    `{"name": "password", "value": "${secret}"}, // lax`,
    `<password>${secret}</password>`,
    `<db:password type="plain">${secret}</db:password>`,
    `<add key="password" value="${secret}"/>`,
    `<input name='password' value='${secret}'>`,
    `db_password1 = ${secret};`,
    `password2: ${secret}`,
    `password_confirmation=${secret}&commit=1`,
    `export API_KEY=${secret}`,
    `api-key: ${secret}`,
    `mysql --password ${secret} -h db`,
    `mysql --password=${secret} -h db`,
    `the password is ${secret}.`,
    `My password is ${secret}, keep it safe`,
    `client_secret: "${secret}"`,
    `passwort: ${secret}`,
    `contraseña: ${secret}`,
    `pаssword: ${secret}`,
    `pass\u200bword: ${secret}`,
    `password%3D${secret}`,
    `&quot;password&quot;: &quot;${secret}&quot;`,
    `**Password old**: ${secret}`,
    `"password old" => "${secret}"`,
    `Password new -> ${secret}`,
    `API key prod 2 := ${secret}`,
    `the password new is ${secret}`,
    `Password old (db): ${secret}`,
    `mot_de passe: ${secret}`,
    `secret key_base = ${secret}`,
  ])('%s', (text) => {
    expect(mask(text)).not.toContain(secret)
    expect(mask(JSON.stringify({ note: text }), 'application/json')).not.toContain(secret)
  })

  test('through any layers of JSON inside JSON', () => {
    let text = JSON.stringify({ user: 'jane', password: secret })
    for (let layers = 1; layers <= 4; layers++) {
      text = JSON.stringify({ text })
      expect(mask(text, 'application/json')).not.toContain(secret)
      expect(() => JSON.parse(mask(text, 'application/json')) as unknown).not.toThrow()
      expect(mask(`Result: ${text}`)).not.toContain(secret)
    }
  })

  test('and once masked it is not masked further', () => {
    const name = fc.constantFrom('password', 'api_key', 'client-secret', 'PWD', 'credential')
    const join = fc.constantFrom('=', ': ', '": "', "' => '", '>', ' is ')
    fc.assert(
      fc.property(name, join, fc.string({ maxLength: 20 }), (named, joined, value) => {
        const once = mask(`x ${named}${joined}${value}\n${named}${joined}${secret}`)
        expect(mask(once)).toBe(once)
      }),
      { numRuns: 300 },
    )
  })
})

describe('a secret is found by its name in JSON', () => {
  test.each([
    { name: 'password', value: secret },
    { value: secret, name: 'password' },
    { key: 'DB_PASSWORD', type: 'string', value: secret },
    { env: [{ name: 'API_KEY', value: secret }] },
    { headers: [{ name: 'Authorization', value: secret }] },
    { headers: [['x-api-key', secret]] },
    { field: 'client_secret', content: [secret] },
    { name: 'password', value: { plain: secret } },
    { password1: secret },
    { password_2: secret },
    { passwordConfirm: secret },
    { new_password_repeat: secret },
    { 'p\u0430ssword': secret },
    { contraseña: secret },
    { пароль: secret },
    { 密码: secret },
    { PassWord: [secret, secret] },
    { text: `{'password': '${secret}'}` },
  ])('%j', (value) => {
    const masked = mask(JSON.stringify(value), 'application/json')
    expect(masked).not.toContain(secret)
    expect(() => JSON.parse(masked) as unknown).not.toThrow()
  })
})

test('a secret of words is not a placeholder or a kind of credential', () => {
  for (const [name, value] of [
    ['password', 'enter-sandman'],
    ['password', 'replace_batteries'],
    ['api_key', 'change-of-heart'],
    ['credential', 'correct-horse'],
    ['authorization', 'correct-horse-battery'],
  ] as const) {
    expect(mask(JSON.stringify({ [name]: value }), 'application/json')).not.toContain(value)
    expect(mask(`${name}: ${value}`)).not.toContain(value)
  }
  for (const value of ['change-me', 'YOUR_API_KEY', 'insert-it-here', 'your-stripe-key']) {
    expect(mask(`password: ${value}`)).toContain(value)
  }
})

test('text that only mentions a secret is left alone', () => {
  for (const text of [
    'The password must be at least eight characters long.',
    'Password: must be at least 8 characters',
    'password is required',
    'your password is incorrect, or the account is locked',
    'reset your password: https://example.org/reset',
    'password: string;',
    'password?: Optional[str] = None',
    'password = os.environ["DB_PASSWORD"]',
    'password = get_password(user)',
    'password: ${DB_PASSWORD}',
    'secretary: Jane',
    'tokens: 4096, max_tokens: 1024',
    'page token: next',
    '{"name":"email","value":"hunter2Hunter2"}',
    '["password","email","username"]',
    '{"name":"password","type":"string","description":"hunter2Hunter2"}',
    'secret://vault/stripe#key',
    '<password></password>',
  ]) {
    expect(mask(text)).toBe(text)
    if (text.startsWith('{"') || text.startsWith('[')) {
      expect(mask(text, 'application/json')).toBe(text)
    }
  }
})

test('a quote that closes at the very end of all bytes, unlike the one that opened it, is not a fault', () => {
  for (const opening of ['"', "'", '\\"', '\\\\"', '"""', '`', '\u201c']) {
    for (const closing of ['"', "'", '\\"', '`', '\u201d', '\\']) {
      for (const text of [`"--password ${opening}`, `${opening}--password ${closing}`]) {
        expect(() => mask(text)).not.toThrow()
        expect(() => mask(JSON.stringify(text), 'application/json')).not.toThrow()
      }
    }
  }
  expect(mask(`"password: \\\\"${secret}"`)).not.toContain(secret)
})

test.each([
  ['C#, with a prefix', `var password = "abc12XX" +\n    $"${secret}";`],
  ['Python, in brackets', `password = (\n    "abc12XX"\n    f"${secret}"\n)`],
  ['Python, on one line', `password = "abc12XX" f"${secret}"`],
  ['a comment behind it', `password = ("abc12XX"  # part one\n  "${secret}")`],
  ['a comment behind an operator', `const password = "abc12XX" + // one\n  "${secret}";`],
  ['C, in the next line', `const char* password = "abc12XX"\n   "${secret}";`],
  ['an argument', `connect(password="abc12XX"\n   "${secret}", x=1)`],
])('a literal is masked with the one that is joined to it: %s', (_, text) => {
  expect(mask(text)).not.toContain(secret)
  expect(mask(JSON.stringify(text), 'application/json')).not.toContain(secret)
})

test.each([
  '{"password": "abc12XX",\n "other": "plain words"}',
  'password: "abc12XX"\n"other": "plain words"',
  'password: "abc12XX"\n"plain words" is what he said',
  'f(password="abc12XX",\n  "plain words")',
  'password "abc12XX"\n"plain words", "more"',
])('a literal in the next line that is another value stays: %j', (text) => {
  expect(mask(text)).toContain('plain words')
})
