import { createCipheriv, createDecipheriv } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { crc32c } from '../lib/crc32c.ts'
import type { Random } from '../lib/random.ts'
import type { ReplacedKey } from './replaced-keys.ts'
import { LedgerDamage } from './store.ts'

export const referenceBytes = 16
export const subjectKeyBytes = 32

/** A subject as its file keeps it. */
export interface StoredSubject {
  readonly reference: Uint8Array
  readonly key: Uint8Array
  readonly name: string
}

/** The position in a file at which the next frame is written. */
export interface FileEnd {
  readonly end: number
  /** The tag of the last frame, which the next one authenticates. */
  readonly tag: Uint8Array
}

export interface SubjectFileContent extends FileEnd {
  readonly subjects: readonly StoredSubject[]
  /** References of subjects that were erased. */
  readonly erased: readonly Uint8Array[]
  /** False where frames stand behind the mark, whole or torn: written, and never marked. */
  readonly isMarked: boolean
}

export interface SubjectFileParts extends ReplacedKey {
  readonly origin: string
}

/*
 * head(16) ‖ mark(16) ‖ mark(16) ‖ frames
 *
 * head  = "CSSUBJ01" ‖ u32 generation ‖ u32 0
 * mark  = u64 end of the acknowledged frames ‖ u32 CRC-32C of it and of the generation ‖ u32 0
 * frame = u32 length ‖ nonce(12) ‖ AES-256-GCM( records ) ‖ tag(16)
 *
 * The additional data of a frame are its origin, generation and position, and the tag of the frame
 * before: no frame is moved, left out or of another slot. The first one is empty, so that a wrong
 * key shows at once. A mark is written behind the sync of its frames and without one of its own. A
 * frame that is torn has to stand behind it; one that the mark covers is damaged.
 */
const magic = Buffer.from('CSSUBJ01')
const headBytes = 16
const markBytes = 16
export const framesAt = headBytes + 2 * markBytes
const lengthBytes = 4
const nonceBytes = 12
const tagBytes = 16
const algorithm = 'aes-256-gcm'
const recordsPerFrame = 256
/** Names are padded to multiples of this, so that the length of a frame hides theirs. */
const namePadding = 64
const nameBytesMax = 0xffff
const subjectRecord = 1
const erasedRecord = 2
const noTag = new Uint8Array(tagBytes)

type Content = Pick<SubjectFileContent, 'subjects' | 'erased'>
type WholeFile = { readonly bytes: Uint8Array } & FileEnd

/** A whole file, marked up to its end. */
export function encodeSubjectFile(
  content: Content,
  parts: SubjectFileParts,
  random: Random,
): WholeFile {
  return wholeFile([...encodeFrames(content, parts, random)], parts)
}

/** The same, in turns of the event loop: 131,072 subjects take some hundred milliseconds. */
export async function encodeSubjectFileInTurns(
  content: Content,
  parts: SubjectFileParts,
  random: Random,
): Promise<WholeFile> {
  const frames: EncodedFrame[] = []
  for (const frame of encodeFrames(content, parts, random)) {
    frames.push(frame)
    await setImmediate()
  }
  return wholeFile(frames, parts)
}

type EncodedFrame = { readonly frame: Uint8Array } & FileEnd

function* encodeFrames(
  { subjects, erased }: Content,
  parts: SubjectFileParts,
  random: Random,
): Generator<EncodedFrame> {
  const count = subjects.length + erased.length
  let at: FileEnd = { end: framesAt, tag: noTag }
  for (let from = 0; from === 0 || from < count; from += recordsPerFrame) {
    const to = from + recordsPerFrame
    const gone = Math.max(0, from - subjects.length)
    const records = [
      ...subjects.slice(from, to).map(encodeSubject),
      ...erased.slice(gone, Math.max(0, to - subjects.length)).map(encodeErased),
    ]
    const next = encodeFrame(records, at, parts, random)
    yield next
    at = next
  }
}

function wholeFile(frames: readonly EncodedFrame[], { generation }: SubjectFileParts): WholeFile {
  const head = Buffer.alloc(headBytes)
  magic.copy(head)
  head.writeUInt32BE(generation, 8)
  const { end, tag } = frames.at(-1) ?? { end: framesAt, tag: noTag }
  const mark = encodeMark(end, generation)
  return { bytes: Buffer.concat([head, mark, mark, ...frames.map(({ frame }) => frame)]), end, tag }
}

/** The frame that adds `subjects` at the end of a file. */
export function encodeSubjects(
  subjects: readonly StoredSubject[],
  at: FileEnd,
  parts: SubjectFileParts,
  random: Random,
): { readonly frame: Uint8Array } & FileEnd {
  return encodeFrame(subjects.map(encodeSubject), at, parts, random)
}

/** The mark for frames up to `end`, and where the next one of two is written. */
export function encodeMark(end: number, generation: number): Uint8Array {
  const mark = Buffer.alloc(markBytes)
  mark.writeBigUInt64BE(BigInt(end), 0)
  mark.writeUInt32BE(markSum(mark, generation), 8)
  return mark
}

export function markPosition(place: 0 | 1): number {
  return headBytes + place * markBytes
}

/** The generation that a file states; throws LedgerDamage for one that is not such a file. */
export function readGeneration(bytes: Uint8Array): number {
  const isOne = bytes.length >= framesAt && magic.equals(bytes.subarray(0, magic.length))
  if (!isOne) throw damaged('it is cut off, or not such a file')
  const view = viewOf(bytes)
  if (view.getUint32(12) !== 0) throw damaged('its head was changed')
  return view.getUint32(8)
}

/** Throws LedgerDamage for anything but what was written; a torn frame behind the mark is left. */
export function parseSubjectFile(bytes: Uint8Array, parts: SubjectFileParts): SubjectFileContent {
  const marked = readMarks(bytes, parts.generation)
  const subjects: StoredSubject[] = []
  const erased: Uint8Array[] = []
  let at: FileEnd = { end: framesAt, tag: noTag }
  while (at.end < bytes.length) {
    const opened = openFrame(bytes, at, parts)
    if (opened === null) break
    readRecords(opened.records, subjects, erased)
    at = opened
  }
  if (at.end < marked) {
    const which = at.end === framesAt ? 'it is of another slot, or its first part' : 'a part of it'
    throw damaged(`${which} was changed or cut off`)
  }
  return { subjects, erased, ...at, isMarked: at.end === marked && marked === bytes.length }
}

function readMarks(bytes: Uint8Array, generation: number): number {
  let marked = 0
  for (const place of [0, 1] as const) {
    const mark = bytes.subarray(markPosition(place), markPosition(place) + markBytes)
    const view = viewOf(mark)
    if (view.getUint32(8) !== markSum(mark, generation)) continue
    marked = Math.max(marked, Number(view.getBigUint64(0)))
  }
  if (marked < framesAt) throw damaged('neither of its marks is readable')
  return marked
}

function markSum(mark: Uint8Array, generation: number): number {
  const covered = Buffer.alloc(12)
  covered.set(mark.subarray(0, 8))
  covered.writeUInt32BE(generation, 8)
  return crc32c(covered)
}

function encodeFrame(
  records: readonly Uint8Array[],
  at: FileEnd,
  parts: SubjectFileParts,
  random: Random,
): { readonly frame: Uint8Array } & FileEnd {
  const plaintext = Buffer.concat(records)
  const nonce = random(nonceBytes)
  const cipher = createCipheriv(algorithm, parts.key, nonce).setAAD(bound(at, parts))
  const body = cipher.update(plaintext)
  cipher.final()
  const tag = cipher.getAuthTag()
  const length = Buffer.alloc(lengthBytes)
  length.writeUInt32BE(nonceBytes + body.length + tagBytes)
  const frame = Buffer.concat([length, nonce, body, tag])
  return { frame, end: at.end + frame.length, tag }
}

/** Null where no whole frame stands there. */
function openFrame(
  bytes: Uint8Array,
  at: FileEnd,
  parts: SubjectFileParts,
): ({ readonly records: Buffer } & FileEnd) | null {
  const start = at.end + lengthBytes
  if (start > bytes.length) return null
  const length = viewOf(bytes).getUint32(at.end)
  const end = start + length
  if (length < nonceBytes + tagBytes || end > bytes.length) return null
  const tag = bytes.subarray(end - tagBytes, end)
  const nonce = bytes.subarray(start, start + nonceBytes)
  const decipher = createDecipheriv(algorithm, parts.key, nonce, { authTagLength: tagBytes })
  decipher.setAAD(bound(at, parts)).setAuthTag(tag)
  const records = decipher.update(bytes.subarray(start + nonceBytes, end - tagBytes))
  try {
    decipher.final()
  } catch {
    return null
  }
  return { records, end, tag }
}

function bound({ end, tag }: FileEnd, { origin, generation }: SubjectFileParts): Buffer {
  const numbers = Buffer.alloc(12)
  numbers.writeUInt32BE(generation, 0)
  numbers.writeBigUInt64BE(BigInt(end), 4)
  return Buffer.concat([
    Buffer.from('countersign subjects v1\0'),
    numbers,
    tag,
    Buffer.from(origin),
  ])
}

function encodeSubject({ reference, key, name }: StoredSubject): Uint8Array {
  const text = Buffer.from(name)
  if (text.length > nameBytesMax) throw new RangeError('the name of a subject is too long')
  const padded = Math.ceil(text.length / namePadding) * namePadding
  const record = Buffer.alloc(1 + referenceBytes + subjectKeyBytes + 2 + padded)
  record[0] = subjectRecord
  record.set(reference, 1)
  record.set(key, 1 + referenceBytes)
  record.writeUInt16BE(text.length, 1 + referenceBytes + subjectKeyBytes)
  record.set(text, 3 + referenceBytes + subjectKeyBytes)
  return record
}

function encodeErased(reference: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(erasedRecord), reference])
}

/** The records authenticated, so that a fault in them is a program's. */
function readRecords(records: Buffer, subjects: StoredSubject[], erased: Uint8Array[]): void {
  const keyAt = 1 + referenceBytes
  const nameAt = keyAt + subjectKeyBytes + 2
  for (let at = 0; at < records.length; ) {
    const reference = new Uint8Array(records.subarray(at + 1, at + keyAt))
    if (records[at] === erasedRecord) {
      erased.push(reference)
      at += keyAt
      continue
    }
    if (records[at] !== subjectRecord) throw damaged('a record of it is of an unknown kind')
    const length = records.readUInt16BE(at + nameAt - 2)
    const key = new Uint8Array(records.subarray(at + keyAt, at + nameAt - 2))
    const name = records.toString('utf8', at + nameAt, at + nameAt + length)
    subjects.push({ reference, key, name })
    at += nameAt + Math.ceil(length / namePadding) * namePadding
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function damaged(why: string): LedgerDamage {
  const next = 'put back the newest copy of this file, together with its log'
  return new LedgerDamage(`the subjects file is damaged: ${why}; ${next}`)
}
