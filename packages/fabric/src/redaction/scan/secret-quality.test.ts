import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { FOREIGN_NAMES, SECRET_NAMES } from '../detectors/secret-names.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * The promise of SECURITY.md, "Secrets by name", as laws: every name of the table in every
 * container at every layer is found with all of its value, and text that only mentions a secret
 * stays as it is.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType: string): string {
  const order = { mask: ['credential', 'card'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const json = 'application/json'
const secret = 'hunter2Xq9vBn3kLm'
const code = '4242'
const seeded = { numRuns: 1_500, seed: 20_260 } as const

interface Named {
  readonly name: string
  readonly value: string
}

const tableNames: readonly Named[] = [
  ...SECRET_NAMES.flatMap(({ names, kind }) =>
    names.map((name) => ({ name, value: kind === 'code' ? code : secret })),
  ),
  ...FOREIGN_NAMES.map((name) => ({ name, value: secret })),
]
/** Ways to join and write the words of a name. */
const joints: readonly ((name: string) => string)[] = [
  (name) => name.replaceAll(' ', ''),
  (name) => name.replaceAll(' ', '_'),
  (name) => name.replaceAll(' ', '-'),
  (name) => name.toUpperCase().replaceAll(' ', '_'),
  (name) => name.replaceAll(/ (\p{L})/gu, (_, letter: string) => letter.toUpperCase()),
  (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll(' ', '-'),
]
const named = fc
  .tuple(fc.constantFrom(...tableNames), fc.constantFrom(...joints))
  .map(([{ name, value }, join]) => ({ name: join(name), value }))

const members: readonly ((each: Named) => unknown)[] = [
  ({ name, value }) => ({ [name]: value }),
  ({ name, value }) => ({ [name]: [value] }),
  ({ name, value }) => ({ [name]: { value } }),
  ({ name, value }) => ({ a: 1, [name]: [{ value }] }),
  ({ name, value }) => ({ name, value }),
  ({ name, value }) => ({ value, name }),
  ({ name, value }) => ({ key: name, val: value }),
  ({ name, value }) => ({ name, values: [value] }),
  ({ name, value }) => ({ key: name, value: { stringValue: value } }),
  ({ name, value }) => ({ headers: [{ name, value }] }),
]
const layers: readonly ((inner: string) => string)[] = [
  (inner) => inner,
  (inner) => JSON.stringify({ a: inner }),
  (inner) => JSON.stringify({ a: `Result: ${inner}` }),
  (inner) => JSON.stringify({ a: JSON.stringify({ b: inner }) }),
  (inner) => JSON.stringify([JSON.stringify({ b: JSON.stringify({ c: [inner] }) })]),
  (inner) => JSON.stringify({ a: JSON.stringify(JSON.stringify({ b: inner })) }),
]

describe('every name of the table', () => {
  test('is known as a member, in pairs and lists, at every layer of JSON', () => {
    fc.assert(
      fc.property(
        named,
        fc.constantFrom(...members),
        fc.constantFrom(...layers),
        (each, member, layer) => {
          const body = layer(JSON.stringify(member(each)))
          const masked = mask(body, json)
          expect(masked, body).not.toContain(each.value)
          expect(() => JSON.parse(masked) as unknown).not.toThrow()
          expect(mask(masked, json)).toBe(masked)
          expect(mask(`x ${body}\n`, 'text/plain')).not.toContain(each.value)
        },
      ),
      seeded,
    )
  })

  const assignments: readonly ((each: Named) => string)[] = [
    ({ name, value }) => `${name}=${value}`,
    ({ name, value }) => `${name}: ${value}`,
    ({ name, value }) => `'${name}': '${value}',`,
    ({ name, value }) => `"${name}" => "${value}"`,
    ({ name, value }) => `export ${name}="${value}"`,
    ({ name, value }) => `tool --${name} ${value} -v`,
    ({ name, value }) => `tool --${name}=${value}`,
    ({ name, value }) => `https://host.example/?a=1&${name}=${value}&b=2`,
    ({ name, value }) => `<${name}>${value}</${name}>`,
    ({ name, value }) => `<${name}><![CDATA[${value}]]></${name}>`,
    ({ name, value }) => `<add key="${name}" value="${value}"/>`,
    ({ name, value }) => `<add value="${value}" key="${name}"/>`,
    ({ name, value }) => `- name: ${name}\n  value: ${value}`,
    ({ name, value }) => `name=${encodeURIComponent(name)}\n${name}: |\n  ${value}\n`,
  ]
  test('is known in text, in forms and in what is encoded', () => {
    fc.assert(
      fc.property(named, fc.constantFrom(...assignments), (each, assign) => {
        const text = assign(each)
        const masked = mask(text, 'text/plain')
        expect(masked, text).not.toContain(each.value)
        expect(mask(masked, 'text/plain')).toBe(masked)
        expect(mask(JSON.stringify({ note: text }), json)).not.toContain(each.value)
        const form = `${encodeURIComponent(each.name)}=${each.value}&x=1`
        expect(mask(form, 'application/x-www-form-urlencoded')).not.toContain(each.value)
      }),
      seeded,
    )
  })
})

describe('of a value no tail is left', () => {
  const signs = [',', ';', '&', ' ', '$', '@', '(', ')', '[', '{', '}', '%', '#', '!', '~', '<']
  const made = fc
    .array(fc.constantFrom('Ab1', 'hunter2', 'x', ...signs), { minLength: 1, maxLength: 8 })
    .map((parts) => `pT5${parts.join('')}zQ8tail`)

  test('without quotes: to the end of its line', () => {
    fc.assert(
      fc.property(made, fc.constantFrom('=', ': ', ' = '), (value, operator) => {
        const text = `user: jane\npassword${operator}${value}\nhost: db`
        const masked = mask(text, 'text/plain')
        expect(masked, text).not.toContain('zQ8tail')
        expect(masked).toContain('host: db')
        expect(mask(masked, 'text/plain')).toBe(masked)
      }),
      seeded,
    )
  })

  const quotings: readonly ((value: string) => string)[] = [
    (value) => `password = "${value.replaceAll('"', '\\"')}"`,
    (value) => `'password': '${value.replaceAll("'", "''")}'`,
    (value) => `password = """${value}"""`,
    (value) => `password = b'${value.replaceAll("'", "\\'")}'`,
    (value) => `password: str = "${value.replaceAll('"', '\\"')}"`,
    (value) => `password = "x" + "${value.replaceAll('"', '\\"')}"`,
    (value) => `password = SecretStr("${value.replaceAll('"', '\\"')}")`,
    (value) => `password = ('${value.replaceAll("'", "\\'")}')`,
    (value) => `password="Ab1"${value.replaceAll(/["' ]/g, '')}`,
    (value) => `password: >-\n  first\n  ${value}\nuser: jane`,
    (value) => `password=<<EOF\n${value}\nEOF\n`,
    (value) => `<password><value>${value.replaceAll('<', '&lt;')}</value></password>`,
  ]
  test('in quotes, blocks and elements: to where they end', () => {
    const quoted = fc
      .tuple(made, fc.constantFrom('', '"', "'"))
      .map(([value, quote]) => `${value.slice(0, 5)}${quote}${value.slice(5)}`)
    fc.assert(
      fc.property(quoted, fc.constantFrom(...quotings), (value, quote) => {
        const text = quote(value)
        expect(mask(text, 'text/plain'), text).not.toContain('zQ8tail')
        expect(mask(JSON.stringify({ a: text }), json), text).not.toContain('zQ8tail')
      }),
      seeded,
    )
  })
})

test.each([
  '[ABC hunter2secret]',
  '[HUNTER hunter2secret]',
  '[HUNTERTWO]',
  '[CARD hunter2secret]',
  '[CREDENTIAL:hunter2secret]',
  '[CREDENTIAL]hunter2secret',
])('%s, which resembles a marker, is a value like any other', (value) => {
  expect(mask(JSON.stringify({ password: value }), json)).toBe('{"password":"[CREDENTIAL]"}')
  expect(mask(`password: ${value}`, 'text/plain')).toBe('password: [CREDENTIAL]')
})

test.each([
  { '[PROD] password': secret },
  { name: '[PROD] password', value: secret },
  { ｐａｓｓｗｏｒｄ: secret },
  { '\u{1d429}\u{1d41a}\u{1d42c}\u{1d42c}\u{1d430}\u{1d428}\u{1d42b}\u{1d41d}': secret },
  { args: ['login', '--password', secret, '--user', 'jane'] },
  { args: ['mysql', '-p', secret] },
  { args: ['mysql', `-p${secret}`] },
  { args: ['-u', `jane:${secret}`] },
  { args: ['tool', '--user', `jane:${secret}`] },
  { args: ['/usr/bin/curl', '-s', '-u', 'jane:sunshine'] },
  { args: ['docker', 'login', '-u', 'jane', '-p', 'sunshine'] },
  { command: 'sshpass', args: ['-p', 'sunshine', 'ssh', 'host'] },
  { args: ['smbclient', '-U', `jane%${secret}`] },
  { rawHeaders: ['Host', 'x', 'Authorization', secret] },
  { settings: [['password', 'correct horse']] },
  { settings: [['password', 'sunshine']] },
  { text: `{'p\\u{61}ssword':'${secret}'}` },
  { text: `{'p\\141ssword':'${secret}'}` },
  { text: `p%u0061ssword=${secret}` },
  { text: `password&lbrack;0&rsqb;&equals;${secret}` },
  { text: `pa\u0483ssword: ${secret}` },
  { text: `\u{1d429}assword: ${secret}` },
  { text: `Authorization: BEARER ${secret}abc99` },
  { text: `the password has been changed to ${secret}` },
  { text: `| password | ${secret} |` },
  { text: `<td>Password</td><td>${secret}</td>` },
  { text: `<b>Password:</b> ${secret}` },
])('%j is masked', (body) => {
  const masked = mask(JSON.stringify(body), json)
  expect(masked).not.toContain(secret)
  expect(masked).not.toMatch(/correct horse|sunshine/)
})

describe('only what is wholly code is code', () => {
  const bare = [
    '??Fort9Horse',
    '&&Fort9Horse',
    '||Fort9Horse',
    '//Fort9Horse',
    '#Fort9Horse',
    'api_key#Fort9Horse',
    'pass.word!Fort9Horse',
    'secret.sauce$Fort9Horse',
    'a_secret or Fort9Horse',
    'a_secret&&Fort9Horse',
    'Winter(Fort9Horse)',
    'Winter[Fort9Horse]',
    'new Fort9Horse',
    '["Fort9Horse"]',
    '("Fort9Horse",)',
    '{value: Fort9Horse}',
    '{a: "Fort9Horse"}',
    '[Fort9Horse]',
    '("Ab1")Fort9Horse',
    '{"a": "b"}Fort9Horse}',
    'process.env.X || "Fort9Horse"',
    'os.getenv("P", "Fort9Horse")',
    'config.pw ?? "Fort9Horse"',
    'env("DB_PW", "Fort9Horse")',
    '/*c*/"Fort9Horse"',
    'user.password // Fort9Horse',
    'atob("Fort9Horse")',
  ]
  test.each(bare)('%s is a value', (value) => {
    for (const operator of [': ', '=', ' = ']) {
      expect(mask(`password${operator}${value}`, 'text/plain'), value).not.toContain('Fort9Horse')
      const body = JSON.stringify({ a: `password${operator}${value}` })
      expect(mask(body, json), value).not.toContain('Fort9Horse')
    }
  })
  test.each([
    'let token = req.headers["authorization"].split(" ")[1]',
    'apiKey: process.env.API_KEY!,',
    'password: Option<String>,',
    'password = None  # set later',
    'password=$(cat /run/secrets/db)',
    'password: { type: String, required: true },',
    'password: // the words of the user',
  ])('%s is code', (text) => {
    expect(mask(text, 'text/plain')).toBe(text)
  })
})

test.each(['-', '$', '.', '@', '\\', '!', '~', '^', '%', '#', '+', '*', '/', "'", '"'])(
  'behind a closing quote and %s a value goes on',
  (sign) => {
    expect(mask(`PASSWORD="abcd"${sign}zQ8tail x`, 'text/plain')).not.toContain('zQ8tail')
    expect(mask(`PASSWORD="abcd"${sign}"zQ8tail" x`, 'text/plain')).not.toContain('zQ8tail')
  },
)

test.each(['+', '++', '.', '&', '||', '..', '<>', '~', '^'])('%s joins two literals', (sign) => {
  expect(mask(`password = "abcd" ${sign} "zQ8tail"`, 'text/plain')).not.toContain('zQ8tail')
})

test.each([
  '[CREDENTIAL]abc',
  'abc[SSN]',
  'str[SSN]ing',
  'is[SSN] not hunter',
  '[SSN][SSN]',
  '[PHONE *]x9',
])('%s, which holds a marker of ours, is a value', (value) => {
  expect(mask(JSON.stringify({ password: value }), json)).toBe('{"password":"[CREDENTIAL]"}')
})

test.each([
  '{"cvv":"\uff11\uff12\uff13"}',
  '{"cvv":"1\u200b23"}',
  '{"cvv":"\u0661\u0662\u0663"}',
  '{"cvv":"%31%32%33"}',
  '{"cvv":"%2531%2532%2533"}',
  '{"cvv":123.0}',
  '{"cvv":1.23e2}',
  '{"cvv":"1 2 3"}',
  '{"pin":"\uff11\uff12\uff13\uff14"}',
  '{"pin":1234.0}',
  '{"pin":1.234e3}',
  '{"token":"abcdefghijklmnopq\uff12"}',
  '{"pass":"hunter\uff12\uff12"}',
])('%s is a number, however it is written', (body) => {
  expect(mask(body, json)).toMatch(/^\{"[a-z]+":"\[CREDENTIAL\]"\}$|"\[CARD \*\]"/)
})

test.each([
  '%70assword',
  '%2570assword',
  '\\u0070assword',
  '&#112;assword',
  'toke%6E',
  'passwor&#100;',
])('%s is a name behind its escapes, wherever its value is', (name) => {
  const places = [{ [name]: secret }, { name, value: secret }, [[name, secret]]]
  for (const place of places) expect(mask(JSON.stringify(place), json)).not.toContain(secret)
  const form = `a=1&${encodeURIComponent(name)}=${secret}`
  expect(mask(form, 'application/x-www-form-urlencoded')).not.toContain(secret)
})

test.each([
  'Mot de passe',
  'mot de passe',
  'password old',
  'Password confirmation',
  'API key prod 2',
  'Password new 2',
  'access token live',
])('%s is a name in text', (name) => {
  for (const text of [`${name}: ${secret}`, `${name} = "${secret}"`, `"${name}": "${secret}",`]) {
    expect(mask(text, 'text/plain'), text).not.toContain(secret)
    expect(mask(JSON.stringify({ text }), json), text).not.toContain(secret)
  }
})

const line = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj'
describe('a private key in PEM is masked to its last line', () => {
  const label = 'PRIVATE KEY'
  const head = `-----BEGIN ${label}-----`
  test.each([
    [head, 'Proc-Type: 4,ENCRYPTED', 'DEK-Info: AES-128-CBC,00', '', line, line],
    [head, `> ${line}`, `> ${line}`],
    [head, `# ${line}`, `# ${line}`],
    [`"${head}" +`, `"${line}" +`, `"${line}"`],
    [head, '[SSN]', line, line],
    [head, 'Comment: "x-y"', 'Note: x!', line, line],
    [head, line, '?', line],
  ])('%s, %s', (...lines) => {
    for (const end of ['', `-----END ${label}-----`, `> -----END ${label}-----`]) {
      const text = [...lines, end].join('\n')
      expect(mask(text, 'text/plain')).not.toContain('MIIE')
      expect(mask(JSON.stringify({ a: text }), json)).not.toContain('MIIE')
    }
  })
})

describe('a name is judged alike wherever it stands', () => {
  const words = ['MY', 'READ', 'VERIFY', 'no', 'your', 'get', 'set', 'reset', 'CHECK', 'find', 'x']
  const prefixed = fc
    .tuple(
      fc.constantFrom(...words),
      fc.constantFrom('password', 'API_KEY', 'secret', 'refresh token'),
    )
    .map(([word, name]) => `${word}_${name}`)
  test('as a member, in a pair and in a list', () => {
    fc.assert(
      fc.property(prefixed, (name) => {
        const places = [
          { [name]: secret },
          { name, value: secret },
          [name, secret],
          [[name, secret]],
        ]
        for (const place of places) expect(mask(JSON.stringify(place), json)).not.toContain(secret)
      }),
      seeded,
    )
  })

  const weak = ['token', 'jwt', 'auth', 'bearer', 'cookie', 'pass', 'pin', 'psk', 'credentials']
  test('and a weaker name takes nothing away from a stronger one', () => {
    const strong = fc.constantFrom('password', 'secrets', 'db_password')
    fc.assert(
      fc.property(fc.constantFrom(...weak), strong, (less, more) => {
        const value = 'correct-horse'
        const places = [
          { type: less, name: more, value },
          { name: more, label: less, value },
          { [more]: { [less]: value } },
          { [more]: { [less]: { a: value } } },
          { [more]: { [less]: [value] } },
          { [less]: { [more]: value } },
        ]
        for (const place of places) expect(mask(JSON.stringify(place), json)).not.toContain(value)
      }),
      seeded,
    )
  })
})

test.each([
  { secrets: { db: 12_345_678 } },
  { password: { a: 1_234_567 } },
  { op: 'replace', path: '/user/password', value: 'sunshine' },
  { name: 'Password*', value: 'sunshine' },
  { name: `${'x'.repeat(400)}_password`, value: 'sunshine' },
  { [`password${'\u200b'.repeat(300)}`]: 'sunshine' },
  { api_key_v2: 'sunshine-9' },
  { password_v2_2: 'sunshine' },
  { passwords: { android: 'sunshine', chat: 'sunshine', runtime: { candidate: 'sunshine' } } },
  { passwords: { storage: 1_234_567 } },
  { password: 'may the sunshine be with you' },
])('%j is masked', (body) => {
  expect(mask(JSON.stringify(body), json)).not.toMatch(/sunshine|12345678|1234567/)
})

describe('text that only mentions secrets stays', () => {
  test.each([
    {
      type: 'object',
      required: ['password', 'username'],
      properties: { password: { type: 'string', minLength: 8, description: 'The password1!' } },
    },
    { required: ['api_key', 'x1y2z3a4'], enum: ['password', 'passkey'] },
    { grant_types: ['password', 'refresh_token', 'client_credentials'] },
    { methods: ['password', 'publickey'] },
    { columns: ['password', 'created_at'] },
    { title: 'Reset password', body: 'Open the settings, and choose 1Password or a2b3c4.' },
    { title: 'Cannot reset my password', content: 'Dear support, I cannot log in since 8:30.' },
    { id: 'reset-password', content: 'Open settings and choose reset.' },
    { name: 'password', description: 'hunter2Hunter2' },
    { name: 'get_secret', content: [{ type: 'text', text: 'Reads a secret by its name' }] },
    { label: 'Password', text: 'At least 12 characters' },
    { pass: 1250, fail: 3, tokens: 4096, token_count: 12, max_tokens: 1024 },
    { pass: 'passed', auth: true, password: null, password_required: false },
    { credentials: 'include', authorization: 'oauth2', credential: 'passport' },
    { hasLocation: 'Berlin', hasLogo: 'maybe', passwordPolicy: 'strong', classifreq: 'monthly' },
    { password_file: '/run/secrets', password_updated: '2024-01-01', 'password-policy': 'strong' },
    { password: { minLength: 8, maxAge: 7_776_000, rotatedTimestamp: 1_732_700_000 } },
    { errors: { password: 'is too short (minimum is 8 characters)' } },
    {
      errors: { password: ['cannot be blank', 'should not be null', 'please choose a longer one'] },
    },
    { password: { keyId: 'a1b2c3d4', created_at: '2024x1', expiresat: 'a1b2c3', maxAge: 123_456 } },
    { errors: { password: ['must contain a digit'] } },
    { name: 'DB_PASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } },
    { password: '${DB_PASSWORD}', api_key: '{{ .Values.apiKey }}', secret: 'vault:prod/db#key' },
  ])('%j', (value) => {
    const text = JSON.stringify(value)
    expect(mask(text, json)).toBe(text)
    expect(mask(text, 'text/plain')).toBe(text)
    const nested = JSON.stringify({ a: text })
    expect(mask(nested, json)).toBe(nested)
  })

  test.each([
    'if (password === confirmPassword) return true',
    'if (!password) throw new Error("no password")',
    'const apiKey = settings.apiKey',
    'password: user.password,',
    'let token = nextToken()',
    'secret = config["secret"]',
    'const secret = await loadSecret(name)',
    'this.password = password',
    'const { password } = req.body',
    'WHERE password = $1',
    'password VARCHAR(255) NOT NULL',
    'def login(user, password=None):',
    'x = password or default_password',
    'password: z.string().min(8)',
    'type Login = { user: string; password: string }',
    'passwordHash = bcrypt.hash(password, 10)',
    "fetch(u, { credentials: 'same-origin' })",
    'export PASSWORD=$PASSWORD',
    'apiKey = env.API_KEY',
    'access_token = response.access_token',
    'const key = password => password.length > 3',
    'password: ${{ secrets.DB_PASSWORD }}',
    'password: <your-password-here>',
    'apiKey: "YOUR_API_KEY"',
    'Your password is stored hashed.',
    'Password must have 8 characters.',
    'Password: at least 8 characters',
    'The API key is found under Settings.',
    'mysql -u <user> -p <password> -h host',
    '<label for="password">Password (8+ chars)</label><input type="password" id="pw-1">',
    'root:x:0:0 is a line of /etc/passwd: see man',
  ])('%s', (text) => {
    expect(mask(text, 'text/plain')).toBe(text)
    const body = JSON.stringify({ text })
    expect(mask(body, json)).toBe(body)
  })
})
