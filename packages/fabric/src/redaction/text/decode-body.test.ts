import { expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { DATA_CLASSES } from '../redactor.ts'
import { createRedactor } from '../scan/create-redactor.ts'
import { decodeBody } from './decode-body.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(9) })
const card = '4111111111111111'

function redact(body: string | Uint8Array, contentType: string): string {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const redacted = redactor.redact(bytes, contentType, { mask: DATA_CLASSES, block: [] })
  if (redacted instanceof Refusal) return redacted.code
  const { body: left, contentType: type = contentType } = redacted
  return `${type}: ${Buffer.from(left).toString()}`
}

test.each([
  ['NUL between digits', Array.from(card).join('\0'), 'text/plain'],
  ['UTF-16', Buffer.from(card, 'utf16le'), 'text/plain'],
  ['UTF-16 with its mark', Buffer.from(`\ufeff${card}`, 'utf16le'), 'text/plain'],
  ['UTF-16 without a type', Buffer.from(`{"a":"${card}"}`, 'utf16le'), ''],
  ['UTF-32', Buffer.from(Array.from(card).join('\0\0\0')), 'text/csv'],
  ['an escape character', `\u001b[8m${card}`, 'text/plain'],
  ['a form feed', `4111\f1111\f1111\f1111`, 'text/plain'],
  ['DEL', '4111\u007f111111111111', 'text/plain'],
  ['C1', '4111\u0085111111111111', 'text/plain'],
  ['an overlong digit', Buffer.from('c1b4'.repeat(16), 'hex'), 'text/plain'],
  ['bytes beyond ASCII in ASCII', 'é', 'text/plain; charset=us-ascii'],
  [
    'bytes that ISO-8859-1 and Windows-1252 differ on',
    Buffer.from('80', 'hex'),
    'text/plain; charset=iso-8859-1',
  ],
  ['a byte that Windows-1252 lacks', Buffer.from('81', 'hex'), 'text/plain; charset=windows-1252'],
  ['NUL in a form', 'a=4\x00111', 'application/x-www-form-urlencoded'],
  [
    'encoded NUL in a form',
    `a=${Array.from(card).join('%00')}`,
    'application/x-www-form-urlencoded',
  ],
  ['encoded UTF-16 in a form', 'a=%ff%fe4%001%00', 'application/x-www-form-urlencoded'],
  ['a mark before a form', `\ufeffa=${card}`, 'application/x-www-form-urlencoded'],
  ['a mark before an untyped body', `\ufeff{"a":"${card}"}`, ''],
  ['a mark before JSON', `\ufeff{"a":"${card}"}`, 'application/json'],
  ['NUL in a JSON string', '{"a":"4\x00111"}', 'application/json'],
])('%s is refused as malformed', (_, body, type) => {
  expect(redact(body, type)).toBe('MESSAGE_MALFORMED')
})

test.each([
  ['UTF-16, declared', Buffer.from(card, 'utf16le'), 'text/plain; charset=utf-16le'],
  ['UTF-32, declared', card, 'text/plain; charset=utf-32'],
  ['UTF-7', '+ADQ-+ADE-', 'text/plain; charset=utf-7'],
  ['EBCDIC', Buffer.from('f4f1f1f1', 'hex'), 'text/plain; charset=ibm037'],
  ['ISO-8859-15', card, 'text/plain; charset=iso-8859-15'],
  ['JSON in Latin-1', '{}', 'application/json; charset=iso-8859-1'],
  ['JSON in ASCII', '{}', 'application/json; charset=us-ascii'],
  ['a form in Latin-1', 'a=1', 'application/x-www-form-urlencoded; charset=iso-8859-1'],
  ['two charsets', card, 'text/plain; charset=utf-8; charset=utf-16'],
  ['a charset behind a quote', card, 'text/plain; x=";charset=utf-16"'],
  ['a form that names another', `_charset_=utf-16&a=1`, 'application/x-www-form-urlencoded'],
  [
    'a form that names another, encoded',
    `%5Fcharset%5f=utf%2d16`,
    'application/x-www-form-urlencoded',
  ],
  ['HTML that declares UTF-7', '<html><meta charset="utf-7">', 'text/html'],
  [
    'HTML that declares UTF-16 late',
    `${' '.repeat(2000)}<meta http-equiv=a content="x; charset = utf-16">`,
    'text/html',
  ],
  ['a page under another type', '<meta charset=utf-16>', 'text/plain'],
  ['XML that declares EBCDIC', '<?xml version="1.0" encoding="cp037"?><a/>', 'text/xml'],
  ['XML that declares Latin-1', "<?xml version='1.0' encoding='ISO-8859-1'?><a/>", 'text/xml'],
  ['a style sheet', '@charset "utf-16";', 'text/css'],
  ['a source file', '#!/usr/bin/python\n# -*- coding: utf-7 -*-', 'text/x-python'],
  ['XML behind a quoted sign', "<?xml standalone='>' encoding='utf-7'?><a/>", 'text/xml'],
  ['XML further down', `<?xml version="1.0"${' '.repeat(1100)}encoding="utf-7"?>`, 'text/xml'],
  ['HTML behind blanks', `<meta charset${' '.repeat(99)}=${' '.repeat(99)}"gb18030">`, 'text/html'],
  ['HTML by references', '<meta content="char&#115;et&#x3d;gb18030">', 'text/html'],
  ['HTML by a name', '<meta content="charset&equals;gb18030">', 'text/html'],
  ['XML behind a decoy', `<?xml x="encoding='utf-8'" encoding="utf-7"?><a/>`, 'text/xml'],
  ['HTML by zeros', '<meta content="charset&#00000000061;shift_jis">', 'text/html'],
  ['HTML by a tab', '<meta content="charset&Tab;=shift_jis">', 'text/html'],
  ['a source file behind a decoy', '# coding : utf-8 coding: utf-7', 'text/x-python'],
  [
    'PHP behind a decoy',
    "<?php /* declare(encoding='utf-8') */ declare(encoding='UTF-7');",
    'text/plain',
  ],
  ['PHP', "<?php declare(encoding='UTF-7');", 'text/plain'],
  ['a source file, twice', '# coding: utf-7\n# coding: utf-8', 'text/x-python'],
])('%s is refused as unsupported', (_, body, type) => {
  expect(redact(body, type)).toBe('CONTENT_UNSUPPORTED')
})

test.each([
  ['Latin-1', Buffer.from('Zahlung für 4111\u00a01111 1111 1111', 'latin1'), 'iso-8859-1'],
  [
    'Windows-1252',
    Buffer.from('5a61686c756e672066fc72203431313120313131312031313131203131313120', 'hex'),
    'Windows-1252',
  ],
])('%s is inspected as declared, and leaves as UTF-8', (_, body, charset) => {
  const left = redact(body, `text/plain; charset=${charset}`)
  expect(left).toMatch(/^text\/plain; charset=utf-8: Zahlung für \[CARD \*1111\]/)
})

test('a body that is UTF-8 already leaves byte for byte, with its type as it was', () => {
  const body = Buffer.from('héllo\tworld\r\n')
  const redacted = redactor.redact(body, 'text/plain; charset=UTF-8', { mask: ['card'], block: [] })
  expect(redacted).toEqual({ body, findings: [] })
})

test('a byte order mark before text does not leave', () => {
  expect(redact(`\ufeffpay ${card}`, 'text/csv')).toBe('text/csv; charset=utf-8: pay [CARD *1111]')
})

test.each([
  ['\\u0000', 'card'],
  ['\\b', 'card'],
  ['\\f', 'card'],
  ['\\u001f', 'card'],
  ['\\u007f', 'card'],
  ['\\u0080', 'card'],
  ['\\\\u0000', 'card'],
  ['%00', 'card'],
  ['&#0;', 'card'],
])('a number in a JSON string is seen through %s', (between) => {
  for (const size of [1, 4]) {
    const cut = card.match(new RegExp(`.{${size}}`, 'g')) ?? []
    const left = redact(`{"a":"pay ${cut.join(between)} now"}`, 'application/json')
    expect(left).toBe('application/json: {"a":"pay [CARD *1111] now"}')
  }
})

test('text of other charsets is decoded as the WHATWG decoder does', () => {
  const every = Uint8Array.from({ length: 0x100 }, (_, byte) => byte)
  const isText = (byte: number) =>
    (byte >= 0x20 && byte !== 0x7f && ![0x81, 0x8d, 0x8f, 0x90, 0x9d].includes(byte)) ||
    [0x09, 0x0a, 0x0d].includes(byte)
  const bytes = every.filter(isText)
  const form = { reading: 'text', essence: 'text/plain' } as const
  const whole = decodeBody(bytes, { ...form, charset: 'windows-1252' })
  expect(whole).toEqual(new TextEncoder().encode(new TextDecoder('windows-1252').decode(bytes)))
  const latin1 = bytes.filter((byte) => byte < 0x80 || byte >= 0xa0)
  expect(decodeBody(latin1, { ...form, charset: 'iso-8859-1' })).toEqual(
    new TextEncoder().encode(Buffer.from(latin1).toString('latin1')),
  )
})
