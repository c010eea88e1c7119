import { describe, expect, test } from 'vitest'
import vector from '../../vectors/receipt.json' with { type: 'json' }
import { toBase64 } from '../encoding/bytes.ts'
import { FormerFormatError, MalformedError } from '../encoding/malformed-error.ts'
import { formatVkey, noteKeyType, parseVkey } from '../log/note.ts'
import { formatTrust, parseTrust, parseTrustOfAnyForm, trustFingerprint } from './trust.ts'

const trust = parseTrust(vector.trust)
const [slot] = trust.slots
if (slot === undefined) throw new Error('the vector lists a log')

describe('a trust file', () => {
  test('parses to what was formatted', () => {
    expect(formatTrust(trust)).toBe(vector.trust)
    expect(parseTrust(formatTrust(trust))).toEqual(trust)
  })

  test('is refused with a member missing, added or malformed', () => {
    const text = vector.trust
    const fabricKey = toBase64(trust.fabricKey)
    const bad = [
      '',
      '{}',
      '[]',
      text.replace('"v": 3', '"v": 4'),
      text.replace('"v": 3', '"v": "2"'),
      text.replace('"v": 3', '"v": 3, "v": 3'),
      text.replace('{', '{"extra":1,'),
      text.replace('"trustDomain"', '"trustdomain"'),
      text.replace('"acme.test"', '"Acme.test"'),
      text.replace('"origin": "acme.test/', '"origin": "other.test/'),
      text.replace(fabricKey, 'AAAA'),
      text.replace(fabricKey, fabricKey.replace('=', '')),
      text.replace(fabricKey, toBase64(new Uint8Array(32))),
      text.replace('"slot": "a"', '"slot": "a", "statementKey": {}'),
      text.replace('"slot": "a"', '"slot": "abc"'),
      text.replace(/"slots": \[[^]*\]/, '"slots": []'),
      text.replace(/"slots": \[([^]*)\]/, '"slots": [$1, $1]'),
      text.replace(/"signature": "[^"]*"/, '"signature": "AAAA"'),
      text.replace('"vkey": "acme', '"vkey": "'),
      ' '.repeat(70_000) + text,
    ]
    for (const given of bad) expect(() => parseTrust(given), given).toThrow(MalformedError)
  })

  test('of an earlier version is refused by name, whatever its members are', () => {
    const file = JSON.parse(vector.trust) as object
    for (const former of [
      { ...file, v: 2 },
      { v: 1, origin: 'log' },
      { ...file, v: 2, bundle: [] },
    ]) {
      const text = JSON.stringify(former)
      const parse = () => ('bundle' in former ? parseTrustOfAnyForm(text) : parseTrust(text))
      expect(parse).toThrow(FormerFormatError)
      expect(parse).toThrow(/has version [12], .*: take it from the fabric again/)
    }
  })

  test('pins the key of a log, not that of a witness', () => {
    const vkey = formatVkey({ ...parseVkey(slot.vkey), type: noteKeyType.cosignatureEd25519 })
    const slots = [{ ...slot, vkey }]
    expect(() => parseTrust(formatTrust({ ...trust, slots }))).toThrow(MalformedError)
  })
})

test('the fingerprint is of the content of the file, not of its formatting', async () => {
  const trust = parseTrust(vector.trust)
  const fingerprint = await trustFingerprint(trust)
  expect(fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/)
  const rewritten = JSON.stringify(JSON.parse(vector.trust))
  expect(await trustFingerprint(parseTrust(rewritten))).toBe(fingerprint)
  const other = { ...trust, trustDomain: 'other.test' }
  expect(await trustFingerprint(other)).not.toBe(fingerprint)
  for (const name of ['slotKey', 'fabricKey'] as const) {
    const changed = { ...trust, [name]: trust[name].map((byte) => byte ^ 1) }
    expect(await trustFingerprint(changed), name).not.toBe(fingerprint)
  }
  // A replica that is added later is certified by a key that is pinned already.
  const more = { ...trust, slots: [slot, { ...slot, slot: 'b', origin: 'acme.test/ledger/b' }] }
  expect(await trustFingerprint(more)).toBe(fingerprint)
})

describe('the document of a server, in place of the trust file', () => {
  const file = JSON.parse(vector.trust) as Record<string, unknown>
  const document = (change: object = {}) => ({
    ...file,
    bundle: Array.from({ length: 64 }, () => 'A'.repeat(1_000)),
    fabricKey: { keyId: 'fabric-1', publicKey: toBase64(trust.fabricKey) },
    enrollmentKey: toBase64(new Uint8Array(32).fill(7)),
    ...change,
  })

  test('is the same trust, by the same fingerprint', async () => {
    const read = parseTrustOfAnyForm(JSON.stringify(document()))
    expect(read).toEqual(trust)
    expect(await trustFingerprint(read)).toBe(await trustFingerprint(trust))
    expect(parseTrustOfAnyForm(vector.trust)).toEqual(trust)
  })

  test('is refused when it lacks what a trust file has, and holds no name twice', () => {
    const bad: readonly string[] = [
      ...['v', 'slotKey', 'slots', 'trustDomain', 'fabricKey'].map((name) =>
        JSON.stringify(document({ [name]: undefined })),
      ),
      JSON.stringify(document({ fabricKey: toBase64(trust.fabricKey) })),
      JSON.stringify(document({ fabricKey: { publicKey: toBase64(new Uint8Array(32)) } })),
      JSON.stringify(document()).replace('{', '{"slotKey":"a",'),
      JSON.stringify([document()]),
      ' '.repeat(300_000) + JSON.stringify(document()),
    ]
    for (const text of bad) expect(() => parseTrustOfAnyForm(text), text).toThrow(MalformedError)
  })
})
