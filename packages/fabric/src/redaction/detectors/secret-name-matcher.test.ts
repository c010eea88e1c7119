import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mayNameSecret } from './secret-name-matcher.ts'
import { FOREIGN_NAMES, SECRET_NAMES, secretRule } from './secret-names.ts'

const names = [...SECRET_NAMES.flatMap((row) => row.names), ...FOREIGN_NAMES]

function mayName(name: string): boolean {
  // The bytes around a name are not part of it.
  const bytes = Buffer.from(`password${name}password`)
  return mayNameSecret(bytes, 8, bytes.length - 8)
}

test('no name of a secret is turned away, however its words are joined and what stands around it', () => {
  const joint = fc.constantFrom('', ' ', '_', '-', '.', '/', ':', '[', '](', '\t', '\u200b', 'é')
  const start = fc.constantFrom('', 'db_', 'my', 'x[1].', '[CARD]', '2', '-')
  const end = fc.constantFrom('', 's', '2', '_new', 'Text 3', '-', '_base64')
  const spelling = fc.constantFrom<(name: string) => string>(
    (name) => name,
    (name) => name.toUpperCase(),
    (name) => name.replaceAll(/\b\w/g, (letter) => letter.toUpperCase()),
    (name) => name.replaceAll(/(?<=\w)(?=\w)/g, '.'),
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.record({ joint, spelling, before: start, after: end }),
      (words, { joint, spelling, before, after }) => {
        const name = before + spelling(words).replaceAll(' ', joint) + after
        if (secretRule(name) !== null) expect(mayName(name)).toBe(true)
      },
    ),
    { numRuns: 2_000 },
  )
  for (const name of names) expect([name, mayName(name)]).toEqual([name, true])
})

test('names that only end like one of a secret are turned away', () => {
  for (const name of ['text', 'context', 'again', 'request', 'latest', 'order_id', 'status2', '']) {
    expect([name, mayName(name)]).toEqual([name, false])
  }
})

test('a name with an escape at any place has a rule only where it is not turned away', () => {
  const escape = fc.constantFrom<(letter: string) => string>(
    (letter) => `%${letter.charCodeAt(0).toString(16)}`,
    (letter) => `%u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
    (letter) => `&#${letter.charCodeAt(0)};`,
    (letter) => `&#${letter.charCodeAt(0)}`,
    (letter) => `\\x${letter.charCodeAt(0).toString(16)}`,
    (letter) => `\\${letter.charCodeAt(0).toString(8)}`,
  )
  const ending = fc.constantFrom('', 's', '_old', '2', ' xyz', '-b')
  fc.assert(
    fc.property(fc.constantFrom(...names), escape, ending, (words, escape, end) => {
      for (let at = 0; at < words.length; at++) {
        const name = words.slice(0, at) + escape(words.charAt(at)) + words.slice(at + 1) + end
        if (secretRule(name) !== null) expect([name, mayName(name)]).toEqual([name, true])
      }
    }),
    { numRuns: 1_000 },
  )
  for (const name of ['passw%6Frd', 'api%5Fkey', 'sec%72et', 'passw%u006Frd', 'passw&#111rd']) {
    expect([name, secretRule(name) !== null, mayName(name)]).toEqual([name, true, true])
  }
})
