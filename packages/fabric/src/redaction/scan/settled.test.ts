import { parseUtf8, utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { DATA_CLASSES } from '../redactor.ts'
import { createRedactor } from './create-redactor.ts'
import { isSettled } from './settled.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(9) })

function masked(text: string): string {
  const body = utf8(JSON.stringify({ text }))
  const order = { mask: DATA_CLASSES, block: [] }
  const answer = redactor.redact(body, 'application/json', order)
  if (answer instanceof Refusal) throw new Error(answer.code)
  return (JSON.parse(parseUtf8(answer.body)) as { text: string }).text
}

test.each([
  ['digits behind it', '/DE89, 3704, 0044, 0532, 0130, 00GB29 NWBK 6016 1331 9268 19'],
  ['digits before it', '. 619-61-5963DE89 3704 0044 0532 0130 00 - e'],
  ['an address before it', 'a.b@x.orgDE89 3704 0044 0532 0130 00'],
])('a cut uncovers %s', (_, text) => {
  const seen = masked(text)
  // Two findings: the first one hid the other from its detector.
  expect(seen.match(/\[[A-Z]+/g)).toHaveLength(2)
  expect(masked(seen)).toBe(seen)
})

test('the text around a cut is settled where nothing in it reads across', () => {
  const text = 'order 2026-117 of last week. Card 4111 1111 1111 1111, or a.person@mail.example'
  const body = utf8(text)
  const card = text.indexOf('4111')
  const cut = { start: card, end: card + 19, marker: '[CARD *1111]' }
  const leaf = { start: 0, end: body.length }
  expect(isSettled(body, leaf, [cut])).toBe(true)
  expect(isSettled(body, leaf, [{ ...cut, marker: '' }])).toBe(false)
  expect(isSettled(body, leaf, [{ ...cut, marker: '[EMAIL:psk]' }])).toBe(false)
  expect(isSettled(utf8(text.replace(', or', ', 12')), leaf, [cut])).toBe(false)
  expect(isSettled(utf8(text.replace(', or', ',me@')), leaf, [cut])).toBe(false)
})

test.each([
  ['groups of an IBAN, which one space parts', 'order 2026-117 of last week acard '],
  ['few letters', 'order 2026-117, it. '],
  ['a hundred bytes without an end', `2026-117${' usual words'.repeat(9)} `],
])('digits before a cut read across %s', (_, before) => {
  const body = utf8(`${before}4111 1111 1111 1111 and more`)
  const cut = { start: before.length, end: before.length + 19, marker: '[CARD *1111]' }
  expect(isSettled(body, { start: 0, end: body.length }, [cut])).toBe(false)
})
