import fc from 'fast-check'
import type { Case, Kind } from './oracle.ts'
import { formType } from './ours.ts'

const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}'
const types = [
  ...['text/plain', 'text/plain; charset=utf-8', 'text/plain; charset=iso-8859-1', 'text/html', ''],
  ...['application/json', 'application/json; charset=utf-16', 'text/x; charset=windows-1252'],
  ...['application/a2a+json', 'TEXT/JSON;Charset="UTF-8"', 'text/plain; charset=utf-16', formType],
]

/** Tokens that one reader takes and another does not, or takes for something else. */
const tokens: Readonly<Record<Kind, readonly string[]>> = {
  json: [
    ...['{', '}', '[', ']', ',', ':', '"', "'", '\\', '/', ' ', '\n', '\t', '\f', '\0', '\ufeff'],
    ...['"a"', '"a":1', '"\\u0061":2', '"__proto__":1', 'null', 'true', 'NaN', '-Infinity', 'None'],
    ...['1', '01', '+1', '1.', '.5', '1e5', '1e400', '-0', '0x1', '1_0', '12345678901234567890'],
    ...['\\u0000', '\\ud800', '\\ud83d\\ude00', '\\x41', '//x\n', '/*x*/', '#x\n', '\u2028', 'é'],
  ],
  call: [
    ...['"method"', '"Method"', 'method', '"\\u006dethod"', "'method'", ':', '=', ',', '{', '}'],
    ...['"tools/call"', '"message/send"', "'tools/call'", '"tools\\/call"', 'tools%2Fcall', 'NaN'],
    ...[
      '\\m',
      '\\x6d',
      '\\155',
      '\\u{6d}',
      '\\U0000006d',
      '\\N{LATIN SMALL LETTER M}',
      '&#109;',
      '&#x6d',
    ],
    ...[
      "'met' 'hod'",
      "'met'+u'hod'",
      "'tools/' b'call'",
      '"tools/"+/**/"call"',
      '?',
      '*m',
      '&m ',
      '!!str ',
    ],
    ...[
      '- ',
      ': ',
      '\n  ',
      '|-\n  ',
      '>-\n ',
      '%TAG ! tag:x\n---\n',
      '<!--',
      '-->',
      '#',
      '//',
      '/*',
      '*/',
    ],
    ...[
      ' '.repeat(40),
      '\u2028',
      '\r',
      '%25',
      '\\',
      '\\\n',
      '`',
      '+',
      '(',
      ')',
      '"ping"',
      'initialize',
      '=',
    ],
    ...['"params":{"name":"pay"}', '"name":"x"', '\ufeff', ")]}'\n", '\n', '/*x*/', '//x\n', '&'],
    ...[
      'data=',
      '%22',
      '%7B',
      '%7D',
      '%3A',
      '[',
      ']',
      '\0',
      call,
      encodeURIComponent(call),
      '"x":',
    ],
  ],
  form: [
    ...['a', 'b', '=', '&', '+', ' ', ';', '%41', '%', '%4', '%zz', '%00', '%c3%a9', '%c3', '%ff'],
    ...['é', '%26', '%3D', '%2B', '%25', '\0', '\n', '[]', '_charset_=', 'utf-8', 'utf-16', '?'],
  ],
  path: [
    ...['/', 'a', '.well-known', '/.well-known/agent-card.json', 'agent-card.json', 'agent%2djson'],
    ...[
      '..',
      '.',
      '%2e',
      '%2F',
      '%5c',
      '\\',
      ';x=1',
      '//',
      '?',
      '?a=/..',
      '#',
      '%c3%a9',
      '%ff',
      ':',
    ],
    ...[
      'Agent-Card.json',
      '%41',
      '%00',
      '%',
      '@',
      '|',
      '^',
      '`',
      '{',
      '<',
      '"',
      '[',
      '*',
      '~',
      "'",
    ],
  ],
  media: [
    ...['text/plain', 'application/json', 'Text/HTML', ';', ' ; ', '; ', ',', '=', '"', ' ', '\t'],
    ...['charset=utf-8', 'charset="utf-8"', 'charset=utf-16', 'CHARSET=Latin1', 'charset', 'x=1'],
    ...['x="a;b"', "charset*=utf-8''x", 'charset*0=utf', '\\', '(c)', 'é', '/', '+json', "'"],
  ],
  text: [
    ...[
      'a',
      '4111',
      '\0',
      '\t',
      '\n',
      '\u001b',
      '\u007f',
      '\u0085',
      '\ufeff',
      'é',
      '€',
      '😀',
      '\\',
    ],
    ...[
      '<meta charset=utf-16>',
      '<?xml version="1.0" encoding="latin1"?>',
      '+ADQ-',
      '# coding: x\n',
    ],
  ],
  events: [
    ...[
      'data',
      'data:',
      'data: a',
      'event: x',
      'id: 1',
      'retry: 5',
      ':',
      ' ',
      'a',
      '"a"',
      '{"a":"b"}',
    ],
    ...[
      '\n',
      '\r',
      '\r\n',
      '\n\n',
      '\v',
      '\f',
      '\u001c',
      '\u001e',
      '\u0085',
      '\u2028',
      '\u2029',
      '\ufeff',
    ],
    ...['event: countersign-refusal', 'id: \u2028', 'é', '\\u2028', '\0', '[', '"'],
  ],
  head: [
    ...['GET', 'POST', ' ', '/', '/a?b', ' HTTP/1.1', ' HTTP/1.0', '\r\n', '\n', '\r', 'Host: a'],
    ...[
      'Accept: a',
      'accept: b',
      'Accept : c',
      'User-Agent:  x  ',
      ' folded',
      '\tfolded',
      ':',
      '\0',
    ],
    ...[
      'X-Request-Id: é',
      'Prefer:',
      'Prefer: a, b',
      'Content-Length: 0',
      'Content-Length: +0',
      ';',
    ],
    ...['Transfer-Encoding: chunked', 'X_Request_Id: 1', 'Last-Event-ID: "\\"', '\v', '\u0085'],
  ],
}

const starts: Readonly<Record<Kind, readonly string[]>> = {
  json: ['{"a":[1,2.5,"x"],"b":{"c":null}}', '[]', '"é"', ''],
  call: [
    ...[call, call.replace('tools/call', 'message/send'), '{"method":"tools/call"}', ''],
    ...[
      "{'method':'tools/call'}",
      'method: tools/call\n',
      'method = "tools/call"\n',
      '{method:`ping`}',
    ],
    ...['method=tools%2Fcall', '? &m method\n: &v tools/call\n', 'a: &v ping\nmethod: *v\n'],
  ],
  events: ['data: a\n\n', 'event: x\nid: 1\ndata: {"a":1}\ndata: b\n\n', ': c\r\ndata:\r\n\r\n'],
  form: ['a=1&b=%C3%A9+x', 'a', ''],
  path: ['/a/b', '/.well-known/agent-card.json', '/'],
  media: ['text/plain; charset=utf-8', 'application/json', 'text/plain'],
  text: ['plain text', 'für', ''],
  head: ['GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nUser-Agent: y\r\n\r\n'],
}

/** A start with some tokens put in and some characters taken out, in one of several encodings. */
export function arbitraryCase(kind: Kind): fc.Arbitrary<Case> {
  const edit = fc.record({
    at: fc.nat(200),
    cut: fc.nat(3),
    put: fc.constantFrom('', ...tokens[kind]),
  })
  const encodings: readonly BufferEncoding[] = ['utf8', 'utf8', 'utf8', 'latin1', 'utf16le']
  return fc
    .record({
      start: fc.constantFrom(...starts[kind]),
      edits: fc.array(edit, { maxLength: 6 }),
      encoding: fc.constantFrom(
        ...(kind === 'head' || kind === 'media' ? ['latin1' as const] : encodings),
      ),
      type: fc.constantFrom(...typesOf(kind)),
    })
    .map(({ start, edits, encoding, type }) => {
      let text = start
      for (const { at, cut, put } of edits) {
        const from = at % (text.length + 1)
        text = `${text.slice(0, from)}${put}${text.slice(from + cut)}`
      }
      const ended = kind === 'head' && !text.endsWith('\r\n\r\n') ? `${text}\r\n\r\n` : text
      return { kind, type, body: Buffer.from(ended, encoding) }
    })
}

function typesOf(kind: Kind): readonly string[] {
  if (kind === 'json') return ['application/json']
  if (kind === 'form') return [formType]
  if (kind === 'text') return types.filter((type) => type.startsWith('text/'))
  return kind === 'call' ? types : ['']
}

export function generate(kind: Kind, seed: number, count: number): readonly Case[] {
  return fc.sample(arbitraryCase(kind), { seed, numRuns: count })
}

export const maskedNumber = '4111111111111111'

/** A card number whose characters are written in the ways that the kind's readers undo. */
export function generateMasked(
  kind: 'json' | 'form' | 'text',
  seed: number,
  count: number,
): readonly Case[] {
  const spell: Readonly<Record<typeof kind, (digit: string, how: number) => string>> = {
    json: (digit, how) => (how === 0 ? `\\u003${digit}` : `${how === 1 ? '\\u0000' : ''}${digit}`),
    form: (digit, how) => (how === 0 ? `%3${digit}` : digit),
    text: (digit) => digit,
  }
  const wrap: Readonly<Record<typeof kind, (text: string) => string>> = {
    json: (text) => `{"a":["x",{"pay":"${text}"}]}`,
    form: (text) => `a=1&pay=${text}&b=2`,
    text: (text) => `pay ${text} now`,
  }
  const cases = fc
    .record({
      hows: fc.array(fc.nat(5), { minLength: 16, maxLength: 16 }),
      type: fc.constantFrom(...typesOf(kind)),
      encoding: fc.constantFrom<BufferEncoding>('utf8', 'utf8', 'utf16le'),
    })
    .map(({ hows, type, encoding }) => {
      const digits = Array.from(maskedNumber, (digit, i) => spell[kind](digit, hows[i] ?? 5))
      return { kind, type, body: Buffer.from(wrap[kind](digits.join('')), encoding) }
    })
  return fc.sample(cases, { seed, numRuns: count })
}
