import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const card = '4111111111111111'
const spaced = '4111 1111 1111 1111'
const base64 = Buffer.from(`card ${spaced}`).toString('base64')
const inLines = Buffer.from(`the customer pays with ${spaced} this time`)
  .toString('base64')
  .replaceAll(/.{20}/g, '$&\n')

interface Hiding {
  readonly body: string
  /** The text that reveals the number, where its digits are not all there. */
  readonly trace?: string
  readonly contentType?: string
}

const hidings: Readonly<Record<string, Hiding>> = {
  'in plain sight': { body: `{"a":"${card}"}` },
  'as a number': { body: `{"a":${card}}` },
  'between spaces': { body: `{"a":"${spaced}"}` },
  'between dashes': { body: '{"a":"4111-1111-1111-1111"}' },
  'in JSON escapes': { body: `{"a":"${escaped(card)}"}` },
  'in percent-encoding': { body: `{"a":"${percent(card)}"}` },
  'in base64': { body: `{"a":"${base64}"}` },
  'in base64 of Cyrillic text': {
    body: JSON.stringify({ a: Buffer.from(`Клиент платит картой ${spaced}`).toString('base64') }),
  },
  'in base64 of UTF-16': {
    body: JSON.stringify({ a: Buffer.from(`card ${spaced}`, 'utf16le').toString('base64') }),
  },
  'in base64 behind other bytes': {
    body: JSON.stringify({
      a: Buffer.concat([Buffer.from('89504e470d0a1a0aff', 'hex'), Buffer.from(spaced)]).toString(
        'base64',
      ),
    }),
  },
  'in lines of base64': { body: JSON.stringify({ a: inLines }) },
  'in lines of base64 in JSON inside JSON': {
    body: JSON.stringify({ a: JSON.stringify({ b: inLines }) }),
  },
  'between commas': { body: '{"a":"4111,1111,1111,1111"}' },
  'between underscores': { body: '{"a":"4111_1111_1111_1111"}' },
  'between spaced dashes': { body: '{"a":"4111 - 1111 - 1111 - 1111"}' },
  'between tabs and line feeds': { body: '{"a":"4111\\t1111\\n1111\\t1111"}' },
  'in pairs': { body: '{"a":"41:11:11:11:11:11:11:11"}' },
  'between letters': { body: '{"a":"ref4111111111111111x"}' },
  'in circled digits': { body: JSON.stringify({ a: circled(card) }) },
  'as a number with a fraction': { body: `{"a":${card}.0}` },
  'as a number with an exponent': { body: '{"a":4.111111111111111e15}' },
  'as a number with negative exponent': { body: '{"a":411111111111111100000e-5}' },
  'as a number with many zeros': { body: `{"a":${card}.${'0'.repeat(80)}}` },
  'as a number that rounds to it': {
    body: '{"a":4111111111111110.9}',
    trace: '4111111111111110',
  },
  'as a number in text that rounds to it': {
    body: 'a: 4111111111111110.9',
    contentType: 'text/plain',
    trace: '4111111111111110',
  },
  'as a number with an exponent in text': {
    body: 'a: 4.111111111111111e15',
    contentType: 'text/plain',
  },
  'after a year': { body: `{"a":"2024 ${spaced}"}` },
  'before an expiry': { body: `{"a":"${spaced} 2027"}` },
  'in a row of groups': { body: '{"a":"2024-4111-1111-1111-1111-1227"}' },
  'after a group of zeros': { body: '{"a":"0000_4111_1111_1111_1111"}' },
  'in pairs with others': { body: '{"a":"2 41 11 11 11 11 11 11 11 12/27"}' },
  'behind a point': { body: `{"a":"7.${spaced}"}` },
  'with thousands': { body: '{"a":"4,111,111,111,111,111.00"}' },
  'in imitated markers': { body: '{"a":"4111 *1111]1111 *1111]"}' },
  'after an imitated marker': { body: `{"a":"[CARD *1111] 4111*1111] 1111 1111"}` },
  'behind an imitated context': {
    body: '{"a":"[card] 4222222222222"}',
    trace: '4222222222222',
  },
  'with combining marks': { body: JSON.stringify({ a: Array.from(card).join('\u05b7') }) },
  'in bank numerals': { body: JSON.stringify({ a: banked(card) }), trace: banked(card) },
  'in full-width digits': { body: `{"a":"${wide(card)}"}` },
  'among zero-width spaces': { body: `{"a":"${Array.from(card).join('\u200b')}"}` },
  'in a key': { body: `{"${spaced}":1}` },
  'in JSON inside JSON': { body: JSON.stringify({ a: JSON.stringify({ b: spaced }) }) },
  'as a number in JSON inside JSON': { body: JSON.stringify({ a: `{"b":${card}}` }) },
  'over the elements of JSON inside JSON': {
    body: JSON.stringify({ a: '["4111","1111",1111,1111]' }),
  },
  'deep inside': { body: `${'{"a":['.repeat(20)}"${card}"${']}'.repeat(20)}` },
  'in text': { body: `pay ${spaced} now`, contentType: 'text/plain' },
  'in a form': { body: `a=${percent(spaced)}`, contentType: 'application/x-www-form-urlencoded' },
  'in an MCP argument': {
    body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":"${spaced}"}}}`,
  },
}

function escaped(digits: string): string {
  return Array.from(digits)
    .map((digit) => `\\u003${digit}`)
    .join('')
}

function percent(text: string): string {
  return Array.from(text)
    .map((each) => `%${each.charCodeAt(0).toString(16)}`)
    .join('')
}

function wide(digits: string): string {
  return Array.from(digits)
    .map((digit) => String.fromCharCode(0xff10 + Number(digit)))
    .join('')
}

function circled(digits: string): string {
  return Array.from(digits)
    .map((digit) => '⓪①②③④⑤⑥⑦⑧⑨'.charAt(Number(digit)))
    .join('')
}

function banked(digits: string): string {
  return Array.from(digits)
    .map((digit) => '零壹贰叁肆伍陆柒捌玖'.charAt(Number(digit)))
    .join('')
}

/** Returns the digits that a reader could get back out of these bytes, in any way. */
function digitsIn(bytes: Buffer): string {
  const text = bytes.toString('utf8')
  const decoded = [text, decodeEscapes(text), decodePercent(text)]
  const joined = text.replaceAll(/\\+n/g, '')
  for (const word of joined.match(/[A-Za-z0-9+/=]{16,}/g) ?? []) {
    const bytesBehind = Buffer.from(word, 'base64')
    decoded.push(bytesBehind.toString('utf8'), bytesBehind.toString('utf16le'))
  }
  const digits = decoded.map((each) => each.normalize('NFKC').replace(/[^0-9]/g, ''))
  return [text, ...digits].join(' ')
}

function decodeEscapes(text: string): string {
  return text.replace(/\\u([0-9a-f]{4})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

function decodePercent(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

const hide =
  (transport: 'gateway' | 'mesh', hiding: Hiding): Attempt =>
  async (world) => {
    const { trace = card } = hiding
    expect(digitsIn(Buffer.from(hiding.body)), 'the attack itself').toContain(trace)
    const asked = await send(world[transport], { to: 'masked', ...hiding })
    expect(asked.status).toBe(200)
    expect(digitsIn(world.echo.reached.at(-1)?.body ?? Buffer.alloc(0))).not.toContain(trace)
    const { body, contentType = 'application/json' } = hiding
    const answered = await world.echo.during(
      (_, response) => response.writeHead(200, { 'content-type': contentType }).end(body),
      () => send(world[transport], { to: 'masked' }),
    )
    expect(answered.status).toBe(200)
    expect(digitsIn(answered.body)).not.toContain(trace)
  }

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.entries(hidings).map(([way, each]) => [way, hide(transport, each)]))

attack(
  verifies(['inspect:mask', 'inspect:response'], 'a card number in disguise is masked, both ways'),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'the sender masks before it seals',
  },
)
