import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { DATA_CLASSES } from '../redactor.ts'
import { createRedactor } from '../scan/create-redactor.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32) })
const card = '4111 1111 1111 1111'
const swapped = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()
const picture = Buffer.concat([
  Buffer.from('89504e470d0a1a0a', 'hex'),
  createHash('sha512').update('picture').digest(),
])

const lines = (bytes: string, columns: number, end = '\n'): string =>
  Buffer.from(bytes)
    .toString('base64')
    .replaceAll(new RegExp(`.{${columns}}`, 'g'), `$&${end}`)

const prose = `the customer of this morning pays with ${card} and wants his receipt by post`

const HIDDEN: Record<string, string> = {
  'Cyrillic text': Buffer.from(`Клиент платит картой ${card} сегодня`).toString('base64'),
  'Chinese text': Buffer.from(`客户今天用这张卡付款：${card}。谢谢`).toString('base64'),
  'little-endian UTF-16': Buffer.from(`карта ${card}`, 'utf16le').toString('base64'),
  'big-endian UTF-16': swapped(`pay with ${card}`).toString('base64'),
  'UTF-16 after one byte': Buffer.concat([Buffer.from('!'), swapped(card)]).toString('base64'),
  'the end of a picture': Buffer.concat([picture, Buffer.from(card)]).toString('base64'),
  'the middle of a picture': Buffer.concat([picture, Buffer.from(card), picture]).toString(
    'base64',
  ),
  'bytes that are not text': Buffer.concat([Buffer.from([255]), Buffer.from(prose)]).toString(
    'base64',
  ),
  ...Object.fromEntries(
    ['/', 'a/', '/ab', '/abc', '-____'].map((before) => [
      `the text after ${before}`,
      `${before}${Buffer.from(card).toString('base64url')}`,
    ]),
  ),
  ...Object.fromEntries(
    [76, 75, 13, 12, 4, 1].map((columns) => [`lines of ${columns}`, lines(prose, columns)]),
  ),
  'bytes that base64 writes with slashes': Buffer.from(`??? ${card} ???o??~???`).toString('base64'),
  'lines as mail has them': lines(prose, 76, '\r\n'),
  'indented lines': lines(prose, 20, '\n    '),
  'indented short lines': lines(prose, 12, '\n  '),
  'short lines behind tabs': lines(prose, 8, '\r\n\t\t'),
  'one token on each line': [`a ${card} b`, `c ${card} ddd`]
    .map((text) => Buffer.from(text).toString('base64url'))
    .join('\n'),
}

/** As some writers of JSON escape them. */
const slashes = (json: string): string => json.replaceAll('/', '\\/')

test.each(Object.entries(HIDDEN))('a card behind base64 is found in %s', (_, hidden) => {
  for (const [type, body] of [
    ['text/plain', hidden],
    ['text/plain', `before ${hidden} after`],
    ['application/json', JSON.stringify({ note: hidden })],
    ['application/json', JSON.stringify({ text: JSON.stringify({ note: hidden }) })],
    ['application/json', JSON.stringify({ text: slashes(JSON.stringify({ note: hidden })) })],
    ['application/x-www-form-urlencoded', `note=${encodeURIComponent(hidden)}`],
  ] as const) {
    const { findings, text } = redact(body, type)
    expect(findings.map(({ dataClass }) => dataClass)).toContain('card')
    for (const word of hidden.split(/\s+/).filter((line) => line.length >= 12)) {
      expect(text).not.toContain(word)
    }
    expect(redact(text, type).text).toBe(text)
  }
})

test('of lines that are not text together, the token with a finding is cut out', () => {
  const [harmless, hidden] = ['no card here!', 'a ４１１１１１１１１１１１１１１１'].map((text) =>
    Buffer.from(text).toString('base64url'),
  )
  expect(redact(`${harmless}\n${hidden}`).text).toBe(`${harmless}\n[CARD *1111]`)
})

/**
 * The same ones on every run: among millions of random bytes an address stands by chance now and
 * then.
 */
function bytesOf(seed: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest()
}

test('nothing is found in random bytes, hashes, identifiers and words', () => {
  const blobs = Array.from({ length: 2_000 }, (_, i) => bytesOf(`blob ${i}`, 1 + (i % 700)))
  const words = [
    'configuration\nimplementation',
    'src/components/buttons/primary-button',
    'a'.repeat(99),
  ]
  for (const text of [
    ...blobs.map((blob) => blob.toString('base64')),
    ...blobs.map((blob) => blob.toString('hex')),
    ...words,
    bytesOf('large', 3_000_000).toString('base64'),
    lines('\0'.repeat(5_000), 76),
  ]) {
    const encoded = redact(text.replaceAll(/[0-9]/g, 'x'))
    expect(encoded.findings).toEqual([])
  }
})

test('with any bytes before and after it, a card of its own length in base64 is found', () => {
  const around = fc.uint8Array({ maxLength: 40 })
  const glued = fc.stringMatching(/^[A-Za-z0-9/_-]{0,9}$/)
  fc.assert(
    fc.property(around, around, glued, (before, after, letters) => {
      const bytes = Buffer.concat([before, Buffer.from(` ${card} `), after])
      const { findings } = redact(`${letters}${bytes.toString('base64url')}`)
      return findings.some(({ dataClass }) => dataClass === 'card')
    }),
    { numRuns: 500 },
  )
})

function redact(body: string, type = 'text/plain') {
  const answer = redactor.redact(Buffer.from(body), type, { mask: DATA_CLASSES, block: [] })
  if (answer instanceof Refusal) throw new Error(answer.detail)
  return { findings: answer.findings, text: Buffer.from(answer.body).toString() }
}
