import { concat, equalBytes, parseBase64, toBase64, toHex, utf8 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { type Hash, sha256, verifyEd25519 } from '../signatures/web-crypto.ts'

/**
 * The head of a log (C2SP tlog-checkpoint), without extension lines: a witness may not cover them.
 */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  /** 32 bytes. */
  readonly root: Uint8Array
}

export interface NoteSignature {
  readonly name: string
  /** 4 bytes. */
  readonly keyId: Uint8Array
  readonly signature: Uint8Array
}

/** A signed note (C2SP signed-note). Parsing checks no signature. */
export interface Note {
  /** The signed text, its last newline included. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** Ed25519 of a log, and Ed25519 cosignature of a witness (C2SP signed-note, tlog-cosignature). */
export const noteKeyType = { ed25519: 0x01, cosignatureEd25519: 0x04 } as const
export type NoteKeyType = (typeof noteKeyType)[keyof typeof noteKeyType]

export interface NoteKey {
  readonly name: string
  readonly type: NoteKeyType
  /** 32 bytes. */
  readonly publicKey: Uint8Array
}

export interface Vkey extends NoteKey {
  readonly keyId: Uint8Array
}

/** Every verifier accepts 16 (C2SP signed-note); more than that only costs the verifier. */
export const noteSignaturesMax = 16
const noteCharactersMax = 65_536
const keyIdBytes = 4
const signatureBytes = 64
const timestampBytes = 8
const hashBytes = 32
const nameCharactersMax = 255

// oxlint-disable-next-line no-control-regex -- the control characters are what a note must not hold.
const controlCharacter = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/
/** Any white space of Unicode, or a plus sign, would make lines and vkeys ambiguous. */
const notInName = /[\s\u0085\u200b\u2028\u2029\ufeff+]/u

export function isNoteKeyName(name: string): boolean {
  return (
    name.length > 0 &&
    name.length <= nameCharactersMax &&
    name.isWellFormed() &&
    !notInName.test(name) &&
    !controlCharacter.test(name)
  )
}

export function formatCheckpoint(checkpoint: Checkpoint): string {
  if (!isNoteKeyName(checkpoint.origin)) throw new TypeError('an origin is a key name')
  if (!Number.isSafeInteger(checkpoint.size) || checkpoint.size < 0) {
    throw new TypeError('a tree size is a count')
  }
  if (checkpoint.root.length !== hashBytes) throw new TypeError('a root is a SHA-256 hash')
  return `${checkpoint.origin}\n${checkpoint.size}\n${toBase64(checkpoint.root)}\n`
}

/** Parses the text of a note. Throws a MalformedError on all but exactly three lines. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root, end, ...more] = text.split('\n')
  if (origin === undefined || !isNoteKeyName(origin)) {
    throw new MalformedError('the origin of the checkpoint is malformed')
  }
  if (size === undefined || !/^(?:0|[1-9][0-9]{0,15})$/.test(size)) {
    throw new MalformedError('the size of the checkpoint is malformed')
  }
  if (!Number.isSafeInteger(Number(size))) throw new MalformedError('the size is out of range')
  const hash = parseBase64(root ?? '')
  if (hash?.length !== hashBytes)
    throw new MalformedError('the root of the checkpoint is malformed')
  if (end !== '' || more.length > 0)
    throw new MalformedError('the checkpoint has other than 3 lines')
  return { origin, size: Number(size), root: hash }
}

export function formatNote(text: string, signatures: readonly NoteSignature[]): string {
  const lines = signatures.map(
    ({ name, keyId, signature }) => `\u2014 ${name} ${toBase64(concat(keyId, signature))}\n`,
  )
  return `${text}\n${lines.join('')}`
}

/**
 * Throws a MalformedError on whatever two parsers could read differently: carriage returns and
 * other control characters, blank lines beyond the one separator, a missing last newline, odd
 * spaces, base64 of another form, two lines of one key, more than 16 lines.
 */
export function parseNote(note: string): Note {
  if (note.length > noteCharactersMax) throw new MalformedError('the note is too long')
  if (!note.isWellFormed()) throw new MalformedError('the note is not Unicode text')
  if (controlCharacter.test(note)) throw new MalformedError('the note holds a control character')
  const blank = note.indexOf('\n\n')
  if (blank <= 0 || note.startsWith('\n')) throw new MalformedError('the note has no text')
  const text = note.slice(0, blank + 1)
  const rest = note.slice(blank + 2)
  if (!rest.endsWith('\n')) throw new MalformedError('the last signature line does not end')
  const lines = rest.slice(0, -1).split('\n')
  if (lines.length > noteSignaturesMax) throw new MalformedError('the note has too many signatures')
  const signatures = lines.map(parseSignatureLine)
  const keys = new Set(signatures.map(({ name, keyId }) => `${name}+${toHex(keyId)}`))
  if (keys.size !== signatures.length) throw new MalformedError('one key signed the note twice')
  return { text, signatures }
}

function parseSignatureLine(line: string): NoteSignature {
  const match = /^\u2014 ([^ ]+) ([A-Za-z0-9+/=]+)$/u.exec(line)
  const bytes = parseBase64(match?.[2] ?? '')
  const name = match?.[1]
  if (name === undefined || !isNoteKeyName(name) || bytes === null || bytes.length <= keyIdBytes) {
    throw new MalformedError('a signature line of the note is malformed')
  }
  return { name, keyId: bytes.slice(0, keyIdBytes), signature: bytes.slice(keyIdBytes) }
}

/** The first four bytes of SHA-256 over name, newline, type and key. */
export async function noteKeyId(key: NoteKey): Promise<Uint8Array> {
  return (await sha256(noteKeyIdInput(key))).slice(0, keyIdBytes)
}

export function noteKeyIdWith(hash: Hash, key: NoteKey): Uint8Array {
  return hash(noteKeyIdInput(key)).slice(0, keyIdBytes)
}

function noteKeyIdInput(key: NoteKey): Uint8Array {
  if (!isNoteKeyName(key.name)) throw new TypeError('not a key name')
  return concat(utf8(`${key.name}\n`), Uint8Array.of(key.type), key.publicKey)
}

export function formatVkey(vkey: Vkey): string {
  const key = toBase64(concat(Uint8Array.of(vkey.type), vkey.publicKey))
  return `${vkey.name}+${toHex(vkey.keyId)}+${key}`
}

/**
 * Throws a MalformedError on another form. `verifyNote` checks that the key id is that of the key.
 */
export function parseVkey(text: string): Vkey {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/u.exec(text)
  const [, name, keyIdHex, key] = match ?? []
  const bytes = parseBase64(key ?? '')
  if (name === undefined || keyIdHex === undefined || !isNoteKeyName(name) || bytes === null) {
    throw new MalformedError('the vkey is malformed')
  }
  const type = bytes[0]
  if (type !== noteKeyType.ed25519 && type !== noteKeyType.cosignatureEd25519) {
    throw new MalformedError('the vkey is of an unknown type')
  }
  if (bytes.length !== 33) throw new MalformedError('the vkey holds no Ed25519 key')
  const keyId = Uint8Array.from(keyIdHex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
  return { name, type, keyId, publicKey: bytes.slice(1) }
}

/**
 * True when the key signed the note. False when its line is missing or bad, or the vkey's id is not
 * that of its key; lines of other keys are passed over. Throws a MalformedError on a note or vkey
 * that does not parse.
 */
export async function verifyNote(note: string, vkeyText: string): Promise<boolean> {
  const vkey = parseVkey(vkeyText)
  if (!equalBytes(await noteKeyId(vkey), vkey.keyId)) return false
  const { text, signatures } = parseNote(note)
  const own = signatures.find(
    ({ name, keyId }) => name === vkey.name && equalBytes(keyId, vkey.keyId),
  )
  if (own === undefined) return false
  if (vkey.type === noteKeyType.ed25519) {
    return verifyEd25519(vkey.publicKey, own.signature, utf8(text))
  }
  return verifyCosignature(vkey.publicKey, own.signature, text)
}

/** Returns the text that a witness signs at `unixSeconds` (C2SP tlog-cosignature, version 1). */
export function cosignatureText(noteText: string, unixSeconds: number): string {
  return `cosignature/v1\ntime ${unixSeconds}\n${noteText}`
}

async function verifyCosignature(
  publicKey: Uint8Array,
  timed: Uint8Array,
  noteText: string,
): Promise<boolean> {
  if (timed.length !== timestampBytes + signatureBytes) return false
  const time = new DataView(timed.buffer, timed.byteOffset).getBigUint64(0)
  if (time > BigInt(Number.MAX_SAFE_INTEGER)) return false
  const signed = utf8(cosignatureText(noteText, Number(time)))
  return verifyEd25519(publicKey, timed.slice(timestampBytes), signed)
}

/** `unixSeconds ‖ signature`, as the cosignature line of a witness carries it. */
export function formatCosignature(unixSeconds: number, signature: Uint8Array): Uint8Array {
  const time = new Uint8Array(timestampBytes)
  new DataView(time.buffer).setBigUint64(0, BigInt(unixSeconds))
  return concat(time, signature)
}
