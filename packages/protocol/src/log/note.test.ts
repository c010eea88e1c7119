import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, toBase64, utf8 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  cosignatureText,
  formatCheckpoint,
  formatCosignature,
  formatNote,
  formatVkey,
  isNoteKeyName,
  type NoteKeyType,
  noteKeyId,
  noteKeyIdWith,
  noteKeyType,
  noteSignaturesMax,
  parseCheckpoint,
  parseNote,
  parseVkey,
  verifyNote,
} from './note.ts'

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

function signer(name: string, seed: number, type: NoteKeyType = noteKeyType.ed25519) {
  const der = Buffer.concat([pkcs8Prefix, Buffer.alloc(32, seed)])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const key = { name, type, publicKey: new Uint8Array(spki.subarray(-32)) }
  const keyId = noteKeyIdWith(sha256, key)
  const raw = (text: string) => new Uint8Array(sign(null, utf8(text), privateKey))
  return { vkey: formatVkey({ ...key, keyId }), name, keyId, key, raw }
}

const log = signer('log.test', 1)
const witness = signer('witness.test', 2, noteKeyType.cosignatureEd25519)
const root = sha256(utf8('root'))
const text = formatCheckpoint({ origin: 'log.test', size: 42, root })
const line = { name: log.name, keyId: log.keyId, signature: log.raw(text) }
const time = 1_760_000_000
const cosigned = {
  name: witness.name,
  keyId: witness.keyId,
  signature: formatCosignature(time, witness.raw(cosignatureText(text, time))),
}
const note = formatNote(text, [line, cosigned])

describe('a checkpoint', () => {
  test('parses to what was formatted', () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
    fc.assert(
      fc.property(fc.maxSafeNat(), hash, (size, given) => {
        const checkpoint = { origin: 'log.test/2026', size, root: given }
        expect(parseCheckpoint(formatCheckpoint(checkpoint))).toEqual(checkpoint)
      }),
    )
  })

  test.each([
    ['a leading zero', 'log.test\n042\nROOT\n'],
    ['a sign', 'log.test\n+42\nROOT\n'],
    ['a size beyond a safe integer', 'log.test\n9007199254740992\nROOT\n'],
    ['an extension line', 'log.test\n42\nROOT\nextension\n'],
    ['no last newline', 'log.test\n42\nROOT'],
    ['a blank line at the end', 'log.test\n42\nROOT\n\n'],
    ['carriage returns', 'log.test\r\n42\r\nROOT\r\n'],
    ['an empty origin', '\n42\nROOT\n'],
    ['a space in the origin', 'log test\n42\nROOT\n'],
    ['a space after the size', 'log.test\n42 \nROOT\n'],
    ['Arabic digits', 'log.test\n٤٢\nROOT\n'],
    ['a short root', 'log.test\n42\nAAAA\n'],
    ['a root without padding', 'log.test\n42\nNOPAD\n'],
    ['a root whose unused bits are set', 'log.test\n42\nTWISTED\n'],
  ])('is refused with %s', (_, given) => {
    const encoded = toBase64(root)
    const twisted = `${encoded.slice(0, -2)}${nextBase64(encoded.at(-2) ?? '')}=`
    const filled = given
      .replace('ROOT', encoded)
      .replace('NOPAD', encoded.slice(0, -1))
      .replace('TWISTED', twisted)
    expect(() => parseCheckpoint(filled)).toThrow(MalformedError)
  })
})

/** The next base64 digit: the last digit of a 32-byte value leaves two bits unused. */
function nextBase64(digit: string): string {
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  return digits[digits.indexOf(digit) + 1] ?? ''
}

describe('a signed note', () => {
  test('parses to its text and signatures, and formats back', () => {
    expect(parseNote(note)).toEqual({ text, signatures: [line, cosigned] })
  })

  test('verifies with the key of its log and with that of its witness', async () => {
    expect(await verifyNote(note, log.vkey)).toBe(true)
    expect(await verifyNote(note, witness.vkey)).toBe(true)
  })

  test('does not verify with a key that did not sign it', async () => {
    expect(await verifyNote(note, signer('log.test', 3).vkey)).toBe(false)
    expect(await verifyNote(note, signer('other.test', 1).vkey)).toBe(false)
    expect(await verifyNote(formatNote(text, [cosigned]), log.vkey)).toBe(false)
  })

  test('is rejected for a bad signature of a known key, whatever else signed it', async () => {
    const bad = { ...line, signature: line.signature.with(5, (line.signature[5] ?? 0) ^ 1) }
    expect(await verifyNote(formatNote(text, [bad, cosigned]), log.vkey)).toBe(false)
    const short = { ...line, signature: line.signature.slice(1) }
    expect(await verifyNote(formatNote(text, [short, cosigned]), log.vkey)).toBe(false)
    const later = { ...cosigned, signature: cosigned.signature.with(7, 1) }
    expect(await verifyNote(formatNote(text, [line, later]), witness.vkey)).toBe(false)
  })

  test('does not take a signature of a log for one of a witness, or the other way round', async () => {
    const asWitness = signer('log.test', 1, noteKeyType.cosignatureEd25519)
    const posing = { ...line, keyId: asWitness.keyId }
    expect(await verifyNote(formatNote(text, [posing]), asWitness.vkey)).toBe(false)
  })

  test('is read by one rule only', () => {
    const hidden = `${text}\nextra\n`
    const signature = note.slice(text.length + 1)
    const bad: Readonly<Record<string, string>> = {
      'CRLF line ends': note.replaceAll('\n', '\r\n'),
      'a carriage return in a line': note.replace('log.test\n', 'log.test\r\n'),
      'a tab': note.replace('log.test', 'log\ttest'),
      'a NUL': note.replace('log.test', 'log\0test'),
      'a C1 control character': note.replace('log.test', 'log\u0085test'),
      'a lone surrogate': note.replace('log.test', 'log\ud800'),
      'no signature': `${text}\n`,
      'no blank line': `${text}${signature}`,
      'a second blank line': `${text}\n\n${signature}`,
      'a blank line in the text': `${hidden}\n${signature}`,
      'a blank line at the end': `${note}\n`,
      'a blank line between signatures': note.replace('\n— witness', '\n\n— witness'),
      'no last newline': note.slice(0, -1),
      'an empty text': `\n\n${signature}`,
      'a text of one newline': `\n${signature}`,
      'a hyphen for the dash': note.replaceAll('—', '-'),
      'an en dash': note.replaceAll('—', '–'),
      'two spaces': note.replace('— log', '—  log'),
      'a no-break space': note.replace('— log', '—\u00a0log'),
      'a no-break space in a name': note.replace('— log.test', '— log\u00a0test'),
      'an ideographic space in a name': note.replace('— log.test', '— log\u3000test'),
      'a zero-width space in a name': note.replace('— log.test', '— log\u200btest'),
      'a byte order mark in a name': note.replace('— log.test', '— \ufefflog.test'),
      'a plus sign in a name': note.replace('— log.test', '— log+test'),
      'a space at the end of a line': note.replace(/\n$/, ' \n'),
      'base64 without padding': note.replace(/=\n$/, '\n'),
      'base64 of the URL alphabet': `${text}\n${signature.replace(/(?<= [^ ]+)[+/]/, '_')}`,
      'a signature of four bytes': `${text}\n— log.test ${toBase64(log.keyId)}\n`,
      'two lines of one key': formatNote(text, [line, line]),
      'seventeen signatures': formatNote(text, many(noteSignaturesMax + 1)),
      'more than 64 KiB': formatNote(text.repeat(1200), [line]),
    }
    for (const [why, given] of Object.entries(bad)) {
      expect(() => parseNote(given), why).toThrow(MalformedError)
    }
    expect(parseNote(formatNote(text, many(noteSignaturesMax))).signatures).toHaveLength(16)
  })

  test('never verifies after one bit of text or signature is changed', async () => {
    const bytes = utf8(formatNote(text, [line]))
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = bytes.with(bit >> 3, (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7)))
      const decoded = new TextDecoder('utf-8', { ignoreBOM: true }).decode(changed)
      expect(await verifyNote(decoded, log.vkey).catch(malformed), `bit ${bit}`).toBe(false)
    }
  })
})

function malformed(error: unknown): boolean {
  expect(error).toBeInstanceOf(MalformedError)
  return false
}

function many(count: number) {
  return Array.from({ length: count }, (_, i) => ({ ...line, keyId: Uint8Array.of(0, 0, 0, i) }))
}

describe('a vkey', () => {
  test('parses to what was formatted', () => {
    expect(parseVkey(log.vkey)).toEqual({ ...log.key, keyId: log.keyId })
    expect(parseVkey(witness.vkey)).toEqual({ ...witness.key, keyId: witness.keyId })
  })

  test('has the key id that SHA-256 gives, computed either way', async () => {
    expect(await noteKeyId(log.key)).toEqual(log.keyId)
    const typed = concat(Uint8Array.of(1), log.key.publicKey)
    expect(sha256(concat(utf8('log.test\n'), typed)).slice(0, 4)).toEqual(log.keyId)
  })

  test('with an id that is not that of its key verifies nothing', async () => {
    const lying = signer('log.test', 3).vkey.replace(/\+[0-9a-f]{8}\+/, `+${hex(log.keyId)}+`)
    expect(await verifyNote(note, lying)).toBe(false)
  })

  test.each([
    'log.test',
    'log.test+00000000',
    '+00000000+AQ==',
    'log.test+0000000+AQ==',
    'log.test+ABCDEF00+AQ==',
    'log.test+00000000+AQ==',
    `log.test+00000000+${toBase64(new Uint8Array(33).fill(2))}`,
    `log.test+00000000+${toBase64(new Uint8Array(34).fill(1))}`,
    `log test+00000000+${toBase64(new Uint8Array(33).fill(1))}`,
    `log.test+00000000+${toBase64(new Uint8Array(33).fill(1))}\n`,
  ])('is refused as %j', (vkey) => {
    expect(() => parseVkey(vkey)).toThrow(MalformedError)
  })

  test('names no key with white space, a plus sign or nothing', () => {
    expect(['log.test', 'https://log.test/a'].every(isNoteKeyName)).toBe(true)
    const bad = ['', 'a b', 'a+b', 'a\nb', 'a\u2028b', 'a\u2003b', 'a\ud800', 'a'.repeat(256)]
    expect(bad.some(isNoteKeyName)).toBe(false)
  })
})

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
