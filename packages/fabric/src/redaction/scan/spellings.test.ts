import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { COMMAND_LINES } from '../detectors/command-line.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * The promises of SECURITY.md, "Secrets by name, in text" and "In command lines", as grammars:
 * whatever stands between a name and its value, nothing of the value is left, and a second pass
 * changes nothing.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType = 'text/plain'): string {
  const order = { mask: ['credential', 'card'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

function expectGone(text: string, secret: string): void {
  const masked = mask(text)
  expect(masked, text).not.toContain(secret)
  expect(mask(masked)).toBe(masked)
  const nested = mask(JSON.stringify({ note: text }), 'application/json')
  expect(nested, text).not.toContain(secret)
  expect(() => JSON.parse(nested) as unknown).not.toThrow()
}

const seeded = { numRuns: 600, seed: 20_262 } as const
const name = fc.constantFrom('password', 'DB_PASSWORD', 'Passphrase', 'client_secret', 'Kennwort')
/** A word, as most are that people choose; another that was made. */
const word = fc.stringMatching(/^correct[a-z]{3,8}$/)
const made = fc.stringMatching(/^hunter[0-9][a-z0-9]{3,8}$/)
const blank = fc.constantFrom('', ' ', '  ', '\t', ' \t ')
const someBlank = fc.constantFrom(' ', '  ', '\t ', '   ')
const assign = fc.constantFrom(
  ...[
    '=',
    ':',
    ':=',
    '::=',
    '=>',
    '==>',
    '->',
    '<-',
    '?=',
    '+=',
    '||=',
    '??=',
    '.=',
    '→',
    '←',
    '⇒',
  ],
)
const qualifier = fc.constantFrom(
  ...['', ' (db)', '(db)', ' [db]', '/db', ' / db', ' (for the database)', '/db (new)', '*', '**'],
)

describe('a secret behind its name', () => {
  test('and an operator, with blanks and a qualifier that separates several', () => {
    const parts = fc.tuple(name, qualifier, blank, assign, blank, word)
    fc.assert(
      fc.property(parts, ([name, qualifier, before, sign, after, secret]) => {
        expectGone(
          `user: jane\n${name}${qualifier}${before}${sign}${after}${secret}\nhost: db`,
          secret,
        )
      }),
      seeded,
    )
  })

  test('and words, a leader or a dash', () => {
    const says = fc.constantFrom(
      ...['is', 'was', 'is now', 'has been set to', 'equals', 'lautet', '-', '—', '.....', '>'],
    )
    fc.assert(
      fc.property(
        fc.tuple(name, someBlank, says, someBlank, made, word),
        ([name, before, says, after, secret, other]) => {
          expectGone(`The ${name}${before}${says}${after}${secret}, as said`, secret)
          if (/^[a-z]/.test(says)) expectGone(`The ${name}${before}${says}: ${other}`, other)
        },
      ),
      seeded,
    )
  })

  const calls: readonly ((name: string, value: string) => string)[] = [
    (name, value) => `setenv("${name}", "${value}", 1)`,
    (name, value) => `define('${name}', '${value}');`,
    (name, value) => `config.set("${name}", "${value}")`,
    (name, value) => `cfg.set("section", "${name}", "${value}")`,
    (name, value) => `os.environ["${name}"] = "${value}"`,
    (name, value) => `ENV["${name}"] ||= '${value}'`,
    (name, value) => `$conf['${name}'] = \`${value}\`;`,
    (name, value) => `props.put("${name}",  "${value}");`,
    (name, value) => `System.setProperty("a.${name}", "${value}")`,
    (name, value) => `[Environment]::SetEnvironmentVariable("${name}", "${value}", "User")`,
    (name, value) => `os.getenv("${name}", "${value}")`,
    (name, value) => `(setenv "${name}" "${value}")`,
    (name, value) => `x.add("${name}", null, "${value}")`,
    (name, value) => `add(key="${name}", value="${value}")`,
    (name, value) => `config["${name}"] ?? "${value}"`,
    (_, value) => `setPassword("jane", "${value}")`,
  ]
  test('in a call, an index or a default', () => {
    fc.assert(
      fc.property(name, word, fc.constantFrom(...calls), (name, secret, write) => {
        expectGone(`a();\n${write(name, secret)}\nb();`, secret)
      }),
      seeded,
    )
  })

  test('goes on in the line below a backslash', () => {
    const end = fc.constantFrom('\\\n', '\\\n  ', '\\\r\n', ' \\\n\t', '^\r\n')
    const parts = fc.tuple(name, fc.constantFrom('=', ': ', ' = '), word, end, made)
    fc.assert(
      fc.property(parts, ([name, sign, first, end, secret]) => {
        expectGone(`${name}${sign}${first}${end}${secret}\nhost: db`, secret)
      }),
      seeded,
    )
  })

  test.each(['("a"),', '("ab").', '["a"],', "('a'),", '("abcd1")'])(
    'is all of %s and what stands behind it',
    (literal) => {
      expectGone(`password=${literal}hunter22x`, 'hunter22x')
    },
  )

  test.each([
    'password (min. 8 characters): required',
    'GET /password/reset: 200',
    'the password for the account is kept elsewhere',
    'Password >Change',
    '<label for="password">Password</label>',
    'check("user", "password", "email")',
    'omit(user, "password", "salt")',
    'password = os.getenv("DB_PASSWORD")',
  ])('is distinguished from a text without one: %s', (text) => {
    expect(mask(text)).toBe(text)
  })
})

describe('a command line', () => {
  const rows = COMMAND_LINES.flatMap(({ programs, switches }) =>
    programs.flatMap((program) =>
      Object.entries(switches).map(([name, form]) => ({ program, name, form })),
    ),
  )
  const forms = {
    password: (secret: string) => secret,
    login: (secret: string) => `jane:${secret}`,
    percent: (secret: string) => `jane%${secret}`,
    slash: (secret: string) => `jane/${secret}@host`,
  }
  test('of every program of the table', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...rows),
        word,
        fc.constantFrom('', '"', "'"),
        ({ program, name, form }, secret, quote) => {
          const value = `${quote}${forms[form](secret)}${quote}`
          const text =
            name === '*'
              ? value
              : name.endsWith('*')
                ? name.slice(0, -1) + value
                : `${name} ${value}`
          expectGone(`$ ${program} --verbose ${text} host\n`, secret)
        },
      ),
      seeded,
    )
  })

  test.each(['-u', '--user', '--proxy-user', '--auth'])('of any program with %s', (name) => {
    expectGone(`tool ${name} jane:correcthorse host`, 'correcthorse')
    expectGone(`tool \\\n  ${name} "jane:correct horse" host`, 'horse')
  })
})
