import { ALNUM, excerptOf, kindOf, latin1 } from '../text/ascii.ts'
import { decodeBase64 } from '../text/base64.ts'
import type { Scan } from '../text/view.ts'
import {
  ALPHABETS,
  type CredentialRule,
  isPlausible,
  isTokenStart,
  tokenEnd,
} from './credential-rule.ts'
import { isMarkerText } from './marker.ts'
import { isReference } from './secret-values.ts'

/**
 * Maximum length of the text between a name and its value: `name = "value"`, `name": "value`,
 * `name=value`.
 */
const assignmentBytesMax = 8
/** RFC 3986 sets no limit on user information; passwords of cloud databases stay far below this. */
const userInfoBytesMax = 512
/** `PGP PRIVATE KEY BLOCK` and `ENCRYPTED PRIVATE KEY` are the longest labels in use. */
const pemLabelBytesMax = 40

function found(scan: Scan, detector: string, start: number, end: number): void {
  scan.found({ dataClass: 'credential', detector, start, end })
}

/**
 * RFC 7515, section 7.1 and RFC 7516, section 7.1: a header is JSON in base64url. `eyJ` is `{"`,
 * the others have white space before or after the bracket.
 */
const jwtStarts = [
  ...['eyJ', 'eyAi', 'eyAg', 'eyAK', 'eyAJ', 'eyAN', 'ewog', 'ewoi', 'ewoJ', 'ewoK', 'ewoN'],
  ...['ew0K', 'ew0i', 'ew0g', 'ew0J', 'ewki', 'ewkg', 'ewkJ', 'ewkK', 'ewkN'],
  ...['IHsi', 'IHsg', 'IHsK', 'Cnsi', 'Cnsg', 'CnsK', 'CXsi', 'DQp7', 'ICB7'],
]
/** So much of a header shows whether it is JSON. */
const jwtHeadBytesMax = 64
const jwtHead = /^\s*\{\s*"/

function scanJwt(scan: Scan, at: number): void {
  const { bytes, to } = scan.view
  if (!isTokenStart(scan, at, ALPHABETS.dotted)) return
  const head = latin1(bytes, at, Math.min(to, at + jwtHeadBytesMax))
  if (!jwtHead.test(Buffer.from(head.split('.', 1)[0] ?? '', 'base64url').toString())) return
  let segments = 1
  let end = at
  let last = at
  // Each run of the alphabet is entered from its first byte only, so all calls together are linear.
  for (; end < to && ALPHABETS.dotted[bytes[end] as number] === 1; end++) {
    if (bytes[end] !== 0x2e) continue
    if (end - last < 2 && segments !== 2) break
    segments++
    last = end + 1
    if (segments > 5) break
  }
  if (segments < 3 || end - at < 40) return
  found(scan, 'jwt', at, end)
}

/** `scheme://user:password@host`: the password is masked, the rest stays readable. */
function scanUrl(scan: Scan, at: number): void {
  const { bytes, to } = scan.view
  const start = at + 3
  const limit = Math.min(to, start + userInfoBytesMax)
  let colon = 0
  let sign = 0
  for (let i = start; i < limit; i++) {
    const byte = bytes[i] as number
    if (byte <= 0x20 || byte === 0x2f || byte === 0x22 || byte === 0x3c || byte === 0x3e) break
    // After a port, a comma starts the next item of a list: `http://host:80,someone@example.org`.
    if (byte === 0x2c && colon > 0 && sign === 0 && isPort(scan, colon + 1, i)) break
    if (byte === 0x3a && colon === 0) colon = i
    // The last sign before the path counts: parsers disagree about passwords that hold one.
    if (byte === 0x40) sign = i
  }
  if (colon === 0 || sign <= colon + 1 || isPlaceholder(scan, colon + 1, sign)) return
  found(scan, 'url-password', colon + 1, sign)
}

function isPort(scan: Scan, start: number, end: number): boolean {
  if (end - start > 5) return false
  for (let i = start; i < end; i++) {
    if (ALPHABETS.digits[scan.view.bytes[i] as number] !== 1) return false
  }
  return true
}

/** `***`, `${PASSWORD}`, `{password}`, our own markers; other brackets are part of the password. */
function isPlaceholder(scan: Scan, start: number, end: number): boolean {
  const { bytes } = scan.view
  const first = bytes[start]
  const text = excerptOf(bytes, start, end)
  if (isMarkerText(text) || isReference(text)) return true
  for (let i = start; i < end; i++) if (bytes[i] !== first) return false
  return true
}

/** PEM (RFC 7468): from BEGIN to END, or to the end of the base64 where the end was cut off. */
function scanPem(scan: Scan, at: number, keyword: string): void {
  const { bytes, to } = scan.view
  const label = at + keyword.length
  let i = label
  while (i < to && i - label < pemLabelBytesMax && bytes[i] !== 0x2d) i++
  const text = String.fromCharCode(...bytes.subarray(label, i))
  if (!text.includes('PRIVATE KEY')) return
  while (i < to && bytes[i] === 0x2d) i++
  const end = pemEnd(scan, i)
  if (end - i < 32) return
  found(scan, 'private-key', at, end)
}

/** Maximum length of a key; the text between two lines of hyphens is read once. */
const pemBytesMax = 65_536
/** A line of a key has more base64 in one piece; so many others are between two of them at most. */
const pemRunMin = 16
const pemGapMax = 4

/**
 * To the END line, whatever stands before it on each line, or between: headers of an encrypted key,
 * quotes, comment signs. If it was cut off, to the last line of base64.
 */
function pemEnd(scan: Scan, from: number): number {
  const { bytes, to } = scan.view
  const limit = Math.min(to, from + pemBytesMax)
  let hyphens = from
  while (hyphens < limit && !isHyphens(bytes, hyphens)) hyphens++
  scan.spend(hyphens - from)
  const sign = /^-{4,5} ?END /.exec(latin1(bytes, hyphens, Math.min(to, hyphens + 10)))
  if (sign === null) return base64End(bytes, from, hyphens)
  const last = Math.min(to, hyphens + pemLabelBytesMax + 14)
  let i = hyphens + sign[0].length
  while (i < last && (bytes[i] === 0x20 || (kindOf(bytes, i) & ALNUM) !== 0)) i++
  while (i < last && bytes[i] === 0x2d) i++
  return i
}

function isHyphens(bytes: Uint8Array, at: number): boolean {
  for (let i = at; i < at + 4; i++) if (bytes[i] !== 0x2d) return false
  return true
}

function base64End(bytes: Uint8Array, from: number, to: number): number {
  let end = from
  while (end < to && isPemByte(bytes[end] as number)) end++
  let run = 0
  let gap = 0
  for (let i = end; i < to && gap < pemGapMax; i++) {
    const byte = bytes[i] as number
    if (byte === 0x0a) gap++
    run = ALPHABETS.base64[byte] === 1 || byte === 0x3d ? run + 1 : 0
    if (run < pemRunMin) continue
    end = i + 1
    gap = 0
  }
  return end
}

function isPemByte(byte: number): boolean {
  return (
    ALPHABETS.base64[byte] === 1 ||
    byte === 0x3d ||
    byte <= 0x20 ||
    byte === 0x5c ||
    byte === 0x3a ||
    byte === 0x2c
  )
}

/** The lines of base64 behind `Private-Lines: 8`, as PuTTY writes a key. */
function scanPutty(scan: Scan, at: number, keyword: string): void {
  const { bytes, to } = scan.view
  const count = at + keyword.length
  let start = count
  while (start < to && start - count < 8 && isPuttyCount(bytes[start] as number)) start++
  let end = start
  let run = 0
  for (let i = start; i < to && i - start < pemBytesMax && isPemByte(bytes[i] as number); i++) {
    const isBase64 = ALPHABETS.base64[bytes[i] as number] === 1 || bytes[i] === 0x3d
    run = isBase64 ? run + 1 : 0
    if (run >= pemRunMin) end = i + 1
    // The next header.
    if (bytes[i] === 0x3a) break
  }
  scan.spend(end - at)
  if (end - start >= 32) found(scan, 'putty-private-key', start, end)
}

const isPuttyCount = (byte: number): boolean =>
  byte <= 0x20 || ALPHABETS.digits[byte] === 1 || byte === 0x5c

/** The value after a telling name, when it is a run of `length` bytes of `alphabet`. */
function assigned(
  id: string,
  shape: { alphabet: Uint8Array; min: number; max: number },
): (scan: Scan, at: number, keyword: string) => void {
  return (scan, at, keyword) => {
    const { bytes, to } = scan.view
    let start = at + keyword.length
    const limit = Math.min(to, start + assignmentBytesMax)
    while (start < limit && isAssignment(bytes[start] as number)) start++
    let end = tokenEnd(scan, start, shape.alphabet, shape.max)
    while (end < to && bytes[end] === 0x3d && end - start < shape.max) end++
    if (end - start < shape.min || end - start > shape.max) return
    if (isPlausible(scan, start, end)) found(scan, id, start, end)
  }
}

function isAssignment(byte: number): boolean {
  // Space, tab, quotes, colon, equals, greater-than, backslash.
  return (
    byte === 0x20 ||
    byte === 0x09 ||
    byte === 0x22 ||
    byte === 0x27 ||
    byte === 0x3a ||
    byte === 0x3d ||
    byte === 0x3e ||
    byte === 0x5c
  )
}

/** RFC 6750, section 2.1. Prose after the word has no digits, a token has some. */
function scanBearer(scan: Scan, at: number, keyword: string): void {
  const start = blanksEnd(scan, at + keyword.length)
  const end = tokenEnd(scan, start, ALPHABETS.token68)
  if (end - start < 20 || !isPlausible(scan, start, end)) return
  let digits = 0
  for (let i = start; i < end; i++)
    if (ALPHABETS.digits[scan.view.bytes[i] as number] === 1) digits++
  if (digits >= 2) found(scan, 'bearer-token', start, end)
}

/**
 * Returns the end of one or more blanks (RFC 9110, section 11.4). Their number is bounded, so that
 * a client cannot use them to cause work.
 */
function blanksEnd({ view }: Scan, at: number): number {
  let i = at
  while (i < view.to && i - at < 16 && (view.bytes[i] === 0x20 || view.bytes[i] === 0x09)) i++
  return i
}

/** RFC 7617, section 2: base64 of `user:password`. */
function scanBasic(scan: Scan, at: number, keyword: string): void {
  const { bytes, to } = scan.view
  const start = blanksEnd(scan, at + keyword.length)
  let end = tokenEnd(scan, start, ALPHABETS.base64)
  while (end < to && bytes[end] === 0x3d && end - start < 1024) end++
  if (end - start < 8) return
  const decoded = decodeBase64(bytes, start, end)
  if (decoded === null || !decoded.includes(0x3a)) return
  found(scan, 'basic-credentials', start, end)
}

/** Microsoft Entra client secrets: three characters, a digit, `Q~`, 31 to 34 more. */
function scanEntra(scan: Scan, at: number): void {
  const { bytes, from } = scan.view
  const start = at - 4
  if (start < from || ALPHABETS.digits[bytes[at - 1] as number] !== 1) return
  const end = tokenEnd(scan, at + 2, ALPHABETS.token68, 34)
  if (end - at - 2 < 31 || end - at - 2 > 34 || !isTokenStart(scan, start, ALPHABETS.alnum)) return
  found(scan, 'azure-client-secret', start, end)
}

/** Finds `https://hooks.slack.com/services/T…/B…/…`: the address alone permits posting. */
function scanWebhook(scan: Scan, at: number, keyword: string): void {
  const start = at + keyword.length
  const end = tokenEnd(scan, start, SLASHED)
  if (end - start >= 40 && isPlausible(scan, start, end)) found(scan, 'webhook-url', start, end)
}
const SLASHED = ALPHABETS.url.map((value, byte) => (byte === 0x2f ? 1 : value))

/** `<bot number>:AA…`, as Telegram issues them. */
function scanTelegram(scan: Scan, at: number): void {
  const { bytes, from } = scan.view
  let start = at
  while (start > from && at - start < 11 && ALPHABETS.digits[bytes[start - 1] as number] === 1)
    start--
  const end = tokenEnd(scan, at + 1, ALPHABETS.url, 35)
  if (at - start >= 8 && at - start <= 10 && end - at - 1 === 35)
    found(scan, 'telegram-token', start, end)
}

/** Base64 as it stands in a query string, percent signs included. */
const base64InUrls = ALPHABETS.base64.map((value, byte) => (byte === 0x25 ? 1 : value))

/** Formats that need more than a prefix. */
export const SHAPE_RULES: readonly CredentialRule[] = [
  {
    id: 'jwt',
    keywords: jwtStarts,
    scan: scanJwt,
    positives: [
      'eyJ{20}.eyJ{40}.{43}',
      'ewogICJ{20}.ewogI{40}.{43}',
      'IHsi{20}.eyJ{40}.{43}',
      'Token eyJ{30}.{20}.{16}.{40}.{22}',
    ],
    negatives: ['eyJ{40}', 'keyJ{20}.{40}.{43}'],
  },
  {
    id: 'private-key',
    keywords: ['-----BEGIN ', '---- BEGIN ', '----- BEGIN '],
    scan: scanPem,
    positives: [
      '-----BEGIN PRIVATE KEY-----\n{64}\n{64}\n-----END PRIVATE KEY-----',
      '-----BEGIN RSA PRIVATE KEY-----\\n{64}\\n{64}',
    ],
    negatives: [
      '-----BEGIN CERTIFICATE-----\n{64}\n-----END CERTIFICATE-----',
      '-----BEGIN PRIVATE KEY-----\n...',
    ],
  },
  {
    id: 'putty-private-key',
    keywords: ['Private-Lines:'],
    scan: scanPutty,
    positives: ['Private-Lines: 2\n{64}\n{64}\nPrivate-MAC: {40h}', 'Private-Lines: 1\r\n{64}'],
    negatives: ['Private-Lines: 8', 'Private-Lines: see the manual for how they are written'],
  },
  {
    id: 'url-password',
    keywords: ['://'],
    scan: scanUrl,
    positives: ['postgres://app:{20}@db.internal:5432/orders', 'https://user:p%40ss{4}@host/path'],
    negatives: ['https://host:8443/a@b', 'postgres://app:***@db/orders', 'redis://user@host'],
  },
  {
    id: 'aws-secret-access-key',
    keywords: ['ecret_access_key', 'ecretAccessKey', 'SECRET_ACCESS_KEY'],
    scan: assigned('aws-secret-access-key', { alphabet: ALPHABETS.base64, min: 40, max: 40 }),
    positives: ['aws_secret_access_key = {40}', '"SecretAccessKey": "{40}"'],
    negatives: [
      'aws_secret_access_key = {20}',
      'AWS_SECRET_ACCESS_KEY is not set in this environment',
    ],
  },
  {
    id: 'azure-storage-key',
    keywords: ['AccountKey='],
    scan: assigned('azure-storage-key', { alphabet: ALPHABETS.base64, min: 86, max: 88 }),
    positives: ['AccountName=a;AccountKey={86}==;', 'AccountKey={86}=='],
    negatives: ['AccountKey={20}', 'AccountKey=<key>'],
  },
  {
    id: 'azure-shared-access-key',
    keywords: ['SharedAccessKey=', 'sig='],
    scan: assigned('azure-shared-access-key', { alphabet: base64InUrls, min: 43, max: 64 }),
    positives: ['SharedAccessKeyName=root;SharedAccessKey={43}=', '&sig={40}%2F{4}%3D'],
    negatives: ['SharedAccessKey={12}', 'sig=valid'],
  },
  {
    id: 'azure-client-secret',
    keywords: ['Q~'],
    scan: scanEntra,
    positives: ['abC8Q~{34}', 'secret: xYz7Q~{31}'],
    negatives: ['abC8Q~{10}', 'abCdQ~{34}'],
  },
  {
    id: 'bearer-token',
    isAnyCase: true,
    keywords: ['bearer ', 'bearer\t'],
    scan: scanBearer,
    positives: ['Authorization: Bearer {40}', 'bearer {32h}', 'x bEARER {40} y'],
    negatives: ['Bearer authentication is required', 'Bearer <token>'],
  },
  {
    id: 'basic-credentials',
    isAnyCase: true,
    keywords: ['basic ', 'basic\t'],
    scan: scanBasic,
    positives: ['Authorization: Basic dXNlcjpwYXNzd29yZDE=', 'bAsic YWRtaW46aHVudGVyMg=='],
    negatives: ['Basic authentication', 'basic understanding'],
  },
  {
    id: 'webhook-url',
    keywords: ['hooks.slack.com/services/', 'discord.com/api/webhooks/'],
    scan: scanWebhook,
    positives: [
      'https://hooks.slack.com/services/T{10U}/B{10U}/{24}',
      'https://discord.com/api/webhooks/{18d}/{68}',
    ],
    negatives: ['https://hooks.slack.com/services/', 'https://discord.com/api/webhooks/{6d}'],
  },
  {
    id: 'telegram-token',
    keywords: [':AA'],
    scan: scanTelegram,
    positives: ['{9d}:AA{33}', 'bot{10d}:AA{33}'],
    negatives: ['12:AA{33}', '{9d}:AA{10}'],
  },
]
