import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ownedIds } from '../../../../../test/harness/owners.ts'
import {
  addKnown,
  createIdFilter,
  idLengthMax,
  mayBeKnown,
  removeKnown,
  visitKnown,
  visitTexts,
} from './known-ids.ts'

const id = '0b5f2c1e-7a44-4a7e-9d0c-3f1f5b7f0a11'

function foundIn(text: string, ...ids: readonly string[]): readonly string[] {
  const filter = createIdFilter()
  for (const each of ids) addKnown(filter, each)
  const found: string[] = []
  visitKnown(text, [filter], (each) => found.push(each))
  return found
}

function widened(sign: string): string {
  return String.fromCharCode(sign.charCodeAt(0) + 0xfee0)
}

test.each([
  ['alone', id],
  ['at the end of a path', `/v1/tasks/${id}`],
  ['behind a scheme', `urn:uuid:${id}`],
  ['in braces', `{${id}}`],
  ['in a sentence', `go on with ${id}, please`],
  ['at the end of one', `It was ${id}.`],
  ['behind an escaped line end', `x\\n${id}`],
  ['behind an escaped quote', `{\\"a\\":\\"${id}\\"}`],
  ['in escapes', `\\u0030${id.slice(1)}`],
  ['in percent signs', `a=%30${id.slice(1)}`],
  ['in another case', id.toUpperCase()],
  ['without hyphens', id.replaceAll('-', '')],
  ['in full width', id.replaceAll(/[!-~]/g, widened)],
  ['in an escape of full width', `a=${'%30'.replaceAll(/[!-~]/g, widened)}${id.slice(1)}`],
])('an id is found %s', (_, text) => {
  expect(foundIn(text, id)).not.toEqual([])
})

test.each([
  ['a word that begins like it', `${id}2`],
  ['a name that begins like it', `${id}_2`],
  ['a word that ends like it', `x${id}`],
  ['its beginning', id.slice(0, -1)],
])('an id is not found in %s', (_, text) => {
  expect(foundIn(text, id)).toEqual([])
})

test('a short id is not found in text, and is known', () => {
  const filter = createIdFilter()
  addKnown(filter, 'i5')
  expect(mayBeKnown([filter], 'i5')).toBe(true)
  expect(mayBeKnown([filter], 'i6')).toBe(false)
  expect(foundIn('i5 i5 i5', 'i5')).toEqual([])
})

test('an id with other characters is found as a whole', () => {
  const other = 'projects/a.b/locations/x@y:tasks/5'
  expect(foundIn(`{"a":"${other}"}`, other)).toEqual([other])
  expect(foundIn(`{"a":"${other}6"}`, other)).toEqual([])
})

test('every long id is found between any two characters that end a word', () => {
  const word = fc.stringMatching(/^[A-Za-z0-9]{16,40}$/)
  const edge = fc.constantFrom(' ', '"', '/', ':', '.', '=', '(', 'é', '\n', ';')
  fc.assert(
    fc.property(word, edge, edge, fc.string(), (one, before, after, around) => {
      const text = `${around.replaceAll(/[\\%&`]/g, '')}${before}${one}${after}${around}`
      expect(foundIn(text, one)).toContain(one)
    }),
  )
})

/** Long as they are kept, and short without their hyphens; of another alphabet. */
const oddIds = [
  'abcd-efgh-ijkl-mn',
  'inv-2026-000017',
  'a-b-c-d-e-f-g-h-1',
  'tâche1234567890123',
  '任务-2026-000017',
]
const odd = oddIds.flatMap((one) => [
  ['alone', one, one],
  ['in a sentence', one, `please cancel ${one}.`],
  ['in another case', one, `x: "${one.toUpperCase()}"`],
  ['behind Chinese', one.startsWith('任') ? 'x' : one, `请取消:${one.startsWith('任') ? '' : one}`],
  [
    'behind a backslash without meaning',
    one,
    `x: "${one.slice(0, 2)}\\w${one.slice(2)}"`.replace('\\w', '\\'),
  ],
])
test.each(odd.filter(([, one]) => one !== 'x'))(
  '%s: %s is found in %j',
  (_, one = '', text = '') => {
    expect(foundIn(text, one)).not.toEqual([])
  },
)

test.each([
  'zqwxzq\\wxzqwxzqwxzq',
  'zqwx\\zqwxzq\\wxzqwxzq',
  '\\nzqwx\\zqwxzqwxzqwxzq',
  'zq\\nzqwxzqwxzqwxzqwxzq',
  'zqwx\\nzqwx',
])('a backslash before a letter that it does not change hides nothing: %j', (text) => {
  const one = text.replaceAll('\\n', '\n').replaceAll('\\', '').split('\n').at(-1) ?? ''
  expect(foundIn(`x: "${text}"`, one).length > 0).toBe(one.length >= 16)
})

test('an id is kept and found by one definition, whatever it is made of', () => {
  const part = fc.stringMatching(/^[A-Za-z0-9]{1,6}$/)
  fc.assert(
    fc.property(fc.array(part, { minLength: 3, maxLength: 9 }), (parts) => {
      const one = parts.join('-')
      fc.pre(one.length >= 16)
      expect(foundIn(`see ${one}: it`, one)).toContain(one)
      expect(foundIn(`see ${one}x: it`, one)).toEqual([])
    }),
  )
})

test('a forgotten id is not known, and a remaining one is', async () => {
  const filter = createIdFilter()
  const ids = ownedIds({ countMax: 10, perOwnerMax: 2 }, filter)
  const [a, b, c] = [randomUUID(), randomUUID(), randomUUID()]
  for (const one of [a, b, c]) await ids.claim('billing', [`task ${one}`], 'bob')
  expect([a, b, c].map((one) => mayBeKnown([filter], one))).toEqual([false, true, true])
  removeKnown(filter, randomUUID())
  expect(mayBeKnown([filter], b)).toBe(true)
})

test('a long id has one owner in whatever case it is written, and a short one is as it is', async () => {
  const ids = ownedIds()
  await ids.claim('billing', [`task ${id}`], 'alice')
  await ids.claim('billing', ['task aB'], 'alice')
  await ids.claim('billing', ['task Ab'], 'bob')
  expect(ids.find('billing', `task ${id.toUpperCase()}`)).toBe('alice')
  expect(ids.find('billing', `context ${id}`)).toBeNull()
  expect([ids.find('billing', 'task aB'), ids.find('billing', 'task Ab')]).toEqual(['alice', 'bob'])
})

test('an id that is too long to be remembered is not looked for', () => {
  expect(foundIn('a'.repeat(idLengthMax + 1), 'a'.repeat(idLengthMax + 1))).toEqual([])
})

test('values, names and numbers of a document are texts', () => {
  const texts: string[] = []
  const document = { [id]: [{ a: [id] }], b: 'short', c: 'taskId=5', n: 1234567890123456, m: 5 }
  visitTexts(
    document,
    (text) => texts.push(text),
    () => undefined,
  )
  expect(texts).toEqual([id, id, 'taskId=5', '1234567890123456'])
})
