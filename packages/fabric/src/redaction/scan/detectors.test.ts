import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { DATA_CLASSES, type DataClass, type Finding } from '../redactor.ts'
import { createRedactor } from './create-redactor.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function inspect(
  text: string,
  contentType: string,
): { body: string; findings: readonly Finding[] } {
  const order = { mask: DATA_CLASSES, block: [] }
  const answer = redactor.redact(new TextEncoder().encode(text), contentType, order)
  if (answer instanceof Refusal) throw new Error(answer.detail)
  return { body: new TextDecoder().decode(answer.body), findings: answer.findings }
}

/** Returns the findings in `text`, as the class and the exact characters. */
function findAll(text: string): string[] {
  const { findings } = inspect(text, 'text/plain')
  const bytes = Buffer.from(text)
  return findings.map((f) => `${f.dataClass} ${bytes.subarray(f.start, f.end).toString()}`)
}

interface Row {
  /** Text with what is to be found in guillemets. */
  readonly found: readonly string[]
  readonly left: readonly string[]
}

const ROWS: Readonly<Record<Exclude<DataClass, 'credential'>, Row>> = {
  card: {
    found: [
      'Visa «4111111111111111».',
      '«5555 5555 5555 4444»',
      'a «3782-822463-10005» b',
      '«3530111333300000», «6011000990139424»',
      '«4111.1111.1111.1111»',
      'pay «4111-1111-1111-1111» by 12/27',
      '«4111 1111 1111 1111» 12/27 123',
      '«30569309025904»',
      'card «6304000000000000» ok',
      'card number: «4222222222222»',
      'PAN=«2223003122003222»',
      'line\\n«4111111111111111»',
      '号«4111111111111111»号',
      'f«4111111111111111»',
      '«4111111111111111»f',
      '«4111111111111111».25',
      '«4111:1111:1111:1111»',
      '«41 11 11 11 11 11 11 11»',
      '«4111-1111-1111-1111»-1111',
      '2024 «4111 1111 1111 1111» 2027',
      '0000 «4111 1111 1111 1111»',
      '7.«4111 1111 1111 1111»',
      '2 «41 11 11 11 11 11 11 11» 12/27',
      '«4,111,111,111,111,111».00',
      '«4111 *1111]1111 *1111»]',
      '[card] «4222222222222»',
      'card [CARD *1111] «4222222222222»',
      'n = «4.111111111111111e15»;',
      'n = «4111111111111110.9»;',
      'n = «411111111111111099e-2»',
      '$12.«4111111111111111»',
    ],
    left: [
      '4111111111111112',
      '1234567812345670',
      '0000000000000000',
      '4444444444444444',
      'order 4222222222222',
      '0.4111111111111111',
      '41111111111111111',
      '[CARD *1111] 4222222222222',
      '3.141592653589793 41.11111111111111 4.111111111111111',
      '41.11, 11.11, 11.11, 11.11',
      '4,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,0',
      '4.111111111111111e16',
      '30/05/2003 - 31/01/2010',
      'f2db26efb20c4111111111111111abcd',
      '1700000000000, 1700000000001',
      '2026-11-30 01:16:33.411',
      '40.712776, -74.005974',
      '30.11.2026 01:16:33',
      '5/30/2026 11:22:33.444',
      '47223179-9330-4259-b66c-f2db26efb20c',
      '192.168.100.200:8080',
      '411111111111111 1111111111111111',
    ],
  },
  iban: {
    found: [
      '«DE89370400440532013000»',
      '«GB29 NWBK 6016 1331 9268 19»',
      'to «FR14 2004 1010 0505 0001 3M02 606», thanks',
      '«nl91abna0417164300»',
      '«MT84MALT011000012345MTLCAST001S»',
      'iban\\n«NO9386011117947»',
      '«DE89370400440532013000»EUR',
      '«DE89 3704  0044 0532 0130 00»',
      '«de_89_3704_0044_0532_0130_00»',
      'IBAN«DE89370400440532013000»',
      '«GB29.NWBK.6016.1331.9268.19»',
      '«ＤＥ８９３７０４００４４０５３２０１３０００»',
      '«DE89\n3704\n0044\n0532\n0130\n00»',
      '«D E 8 9 3 7 0 4 0 0 4 4 0 5 3 2 0 1 3 0 0 0»',
    ],
    left: [
      'DE88370400440532013000',
      'DE8937040044053201300',
      'DE893704004405320130001',
      'XX89370400440532013000',
      'AGB29NWBK60161331926819',
      'DE89370400440532O13000',
    ],
  },
  email: {
    found: [
      '«jane@example.org»',
      'Jane <«jane.doe+tag@mail.example.co.uk»>, bye',
      "mailto:«o'brien@example.org»?subject=x",
      "'«jane@example.org»'",
      '«jane_doe@xn--bcher-kva.example», (c) «j-d@example.org».',
      'über: «jürgen@bücher.example»',
      'x=«jane@example.org»;y',
      'a//«jane@example.org»',
      '«JANE@EXAMPLE.ORG»',
      '«jane＠example.org»',
      '«jane@example。org»',
      '«j́ane@example.org»',
      'line\\n«jane@example.org»\\nnext',
    ],
    left: [
      'jane@localhost',
      '@jane and jane@',
      'icon@2x.png',
      'git@github.com:org/repo.git',
      'react@19.2.0',
      'jane@example',
      'jane.@example.org',
      'https://jane@example.org/x',
      'a@b.c',
      'npm i @scope/pkg@1.2.3',
    ],
  },
  ssn: {
    found: [
      '«123-45-6789»',
      'ssn «123 45 6789»!',
      'SSN: «123456789»',
      'social security «219.09.9999»',
      '(«536-90-4399»)',
      'born 1980-02-03, «536-90-4399»',
      '«123_45_6789»',
      '«123 - 45 - 6789»',
      '«123–45–6789»',
      '«１２３－４５－６７８９»',
      'ssn «123/45/6789»',
    ],
    left: [
      '000-12-3456',
      '666-12-3456',
      '900-12-3456',
      '123-00-6789',
      '123-45-0000',
      '123456789',
      '123-45-67890',
      '1123-45-6789',
      'lesson 123456789',
      'x123-45-6789',
      '12-123-45-6789',
    ],
  },
  phone: {
    found: [
      '«+1 212 555 0123»',
      '«+442079460958», «+49 (30) 901820»',
      'dial «00 44 20 7946 0958»',
      '«(212) 555-0123»',
      '«212-555-0123» or «212.555.0123»',
      '«1-212-555-0123»',
      '«06 12 34 56 78»',
      'phone: «5550123»',
      'call me: «020 7946 0958» please',
      'Tel. «030/901820»',
      '«+1 212 555 0123» 42',
      '«+ 44 20 7946 0958»',
      '«+44_20_7946_0958»',
      '«+1 (212) 555–0123»',
      '«212_555_0123»',
      '«212 - 555 - 0123»',
      '«＋１　２１２　５５５　０１２３»',
      '«+44 (0)20 7946 0958»',
    ],
    left: [
      '2125550123',
      '112-555-0123',
      '212-155-0123',
      '911-555-0123 is no area',
      '555-0123',
      'hotel 5550123',
      '2024-01-15 10:30:00',
      'phone since 2024-01-15',
      'phone order 2026-11-27 12:00',
      'ad8e9ee0-0094-4326-9386-abf9809a613f',
      '+0123456789',
      '192.168.100.200',
      '06 12 34 56 78 90 12',
      'version 1.2.3.4567890',
      'microphones 5550123',
    ],
  },
}

describe.each(Object.entries(ROWS))('%s', (dataClass, row) => {
  test.each(row.found)('%s', (marked) => {
    const text = marked.replaceAll(/[«»]/g, '')
    const expected = [...marked.matchAll(/«([^»]*)»/g)].map(([, value]) => `${dataClass} ${value}`)
    expect(findAll(text)).toEqual(expected)
  })

  test.each(row.left)('leaves %s', (text) => {
    expect(findAll(text).filter((found) => found.startsWith(dataClass))).toEqual([])
  })
})

/** JSON in, JSON out. */
const masked = (value: unknown): unknown =>
  JSON.parse(inspect(JSON.stringify(value), 'application/json').body)

describe('a field', () => {
  const secret = 'tr0ub4dor&3 horse'
  test.each([
    'password',
    'Password',
    'db_password',
    'dbPassword',
    'PASSWD',
    'pwd',
    'client_secret',
    'clientSecret',
    'x-api-key',
    'apiKey',
    'api_keys',
    'accessToken',
    'refresh_token',
    'Authorization',
    'privateKey',
    'aws_secret_access_key',
    'passphrase',
    'token',
    'jwt',
    'connectionString',
    'credentials',
    'pin',
    'p\u0061ssword',
  ])('named %s is masked whatever its value looks like', (name) => {
    expect(masked({ [name]: secret })).toEqual({ [name]: '[CREDENTIAL]' })
    expect(masked({ [name]: [secret, secret] })).toEqual({
      [name]: ['[CREDENTIAL]', '[CREDENTIAL]'],
    })
  })

  test('named with escapes is masked as well', () => {
    expect(inspect('{"p\\u0061ssword":"hunter22"}', 'application/json').body).toContain(
      '[CREDENTIAL]',
    )
  })

  test.each([
    ['nextPageToken', 'a1b2c3d4e5f6g7h8i9'],
    ['max_tokens', 4096],
    ['passwordless', 'enabled-everywhere'],
    ['description', 'The password of the user'],
    ['compass', 'north by north-west'],
    ['secretary', 'Jane of the office'],
    ['password', ''],
    ['password', '***'],
    ['password', '<your password>'],
    ['password', '${DB_PASSWORD}'],
    ['password', 'required'],
    ['api_key', 'secret://vault/stripe#key'],
    ['password', { type: 'string', minLength: 8 }],
    ['password', null],
    ['password', true],
    ['token', 'short'],
  ])('named %s with the value %j is left', (name, value) => {
    expect(masked({ [name]: value })).toEqual({ [name]: value })
  })

  test('gives its number the context that prose would', () => {
    expect(
      masked({ homePhone: '5550123', ssn: 536904399, order: '5550123', ref: 536904399 }),
    ).toEqual({
      homePhone: '[PHONE *]',
      ssn: '[SSN]',
      order: '5550123',
      ref: 536904399,
    })
    expect(masked({ card_number: '4222222222222', id: '4222222222222' })).toEqual({
      card_number: '[CARD *2222]',
      id: '4222222222222',
    })
  })

  test('with a card verification code is masked as a card', () => {
    expect(masked({ cvv: 123, cvc: '1234', cvv2: 'none', other: 123 })).toEqual({
      cvv: '[CARD *]',
      cvc: '[CARD *]',
      cvv2: 'none',
      other: 123,
    })
  })

  test('inside JSON inside a string is masked, and the inner text stays JSON', () => {
    const inner = JSON.stringify({ user: 'jane', password: 'hunter22', note: 'a "quoted" line\n' })
    const outer = masked({ content: [{ type: 'text', text: inner }] }) as {
      content: { text: string }[]
    }
    expect(JSON.parse(outer.content[0]?.text ?? '')).toEqual({
      user: 'jane',
      password: '[CREDENTIAL]',
      note: 'a "quoted" line\n',
    })
  })
})
