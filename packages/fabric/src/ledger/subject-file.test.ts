import { expect, test } from 'vitest'
import { systemRandom } from '../lib/random.ts'
import { LedgerDamage } from './store.ts'
import {
  encodeMark,
  encodeSubjectFile,
  encodeSubjects,
  framesAt,
  markPosition,
  parseSubjectFile,
  readGeneration,
} from './subject-file.ts'

const parts = { generation: 3, key: systemRandom(32), origin: 'ledger.test/ledger/a' }
const subjectOf = (name: string) => ({
  ...{ name, reference: systemRandom(16), key: systemRandom(32) },
})
const first = [subjectOf('planner'), subjectOf('https://issuer.example#user/é')]
const erased = [systemRandom(16)]
const whole = encodeSubjectFile({ subjects: first, erased }, parts, systemRandom)
const [two, three] = [[subjectOf('weather')], [subjectOf('mallory'), subjectOf('x'.repeat(200))]]
const next = encodeSubjects(two, whole, parts, systemRandom)
const last = encodeSubjects(three, next, parts, systemRandom)

/** A file to which two groups were added, marked behind each of them. */
function added(): Buffer {
  const bytes = Buffer.concat([whole.bytes, next.frame, last.frame])
  bytes.set(encodeMark(next.end, parts.generation), markPosition(0))
  bytes.set(encodeMark(last.end, parts.generation), markPosition(1))
  return bytes
}

test('a file has what was written to it, and the names of neither', () => {
  const bytes = added()
  expect(readGeneration(bytes)).toBe(3)
  const { subjects, erased: gone, end, isMarked } = parseSubjectFile(bytes, parts)
  expect(subjects).toEqual([...first, ...two, ...three])
  expect([gone, end, isMarked]).toEqual([erased, bytes.length, true])
  for (const { name } of subjects) expect(bytes.includes(name)).toBe(false)
})

test('names of up to 64 bytes make frames of one length', () => {
  const lengthOf = (name: string) =>
    encodeSubjects([subjectOf(name)], whole, parts, systemRandom).frame.length
  expect(lengthOf('a')).toBe(lengthOf('a'.repeat(64)))
  expect(lengthOf('a')).toBeLessThan(lengthOf('a'.repeat(65)))
})

test('a changed bit is damage wherever the mark reaches, and so is a missing end', () => {
  for (let at = framesAt; at < last.end; at++) {
    const bytes = added()
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8))
    expect(() => parseSubjectFile(bytes, parts), `byte ${at}`).toThrow(LedgerDamage)
  }
  for (let end = 0; end < last.end; end++) {
    const cut = added().subarray(0, end)
    expect(() => {
      readGeneration(cut)
      parseSubjectFile(cut, parts)
    }).toThrow(LedgerDamage)
  }
})

test('frames that are swapped, left out, or of another slot, key or generation are damage', () => {
  const bytes = added()
  const head = bytes.subarray(0, whole.end)
  for (const frames of [[last.frame, next.frame], [last.frame], [next.frame, next.frame]]) {
    expect(() => parseSubjectFile(Buffer.concat([head, ...frames]), parts)).toThrow(LedgerDamage)
  }
  for (const other of [
    { ...parts, origin: 'ledger.test/ledger/b' },
    { ...parts, key: systemRandom(32) },
    { ...parts, generation: 4 },
  ]) {
    expect(() => parseSubjectFile(bytes, other)).toThrow(LedgerDamage)
  }
})

test('a frame behind the mark counts when it is whole, and is left out when it is torn', () => {
  const bytes = added()
  bytes.set(encodeMark(whole.end, parts.generation), markPosition(0))
  bytes.set(encodeMark(next.end, parts.generation), markPosition(1))
  expect(parseSubjectFile(bytes, parts)).toMatchObject({ end: last.end, isMarked: false })
  for (let end = next.end; end < last.end; end++) {
    const { subjects, ...torn } = parseSubjectFile(bytes.subarray(0, end), parts)
    expect(torn).toMatchObject({ end: next.end, isMarked: end === next.end })
    expect(subjects).toEqual([...first, ...two])
  }
})

test('each frame states its file, its place and the frame before, and each mark its generation', () => {
  const refused = (bytes: Uint8Array, given = parts): void => {
    expect(() => parseSubjectFile(bytes, given)).toThrow(LedgerDamage)
  }
  const marked = (bytes: Buffer, generation = parts.generation): Buffer => {
    for (const place of [0, 1] as const) {
      bytes.set(encodeMark(bytes.length, generation), markPosition(place))
    }
    return bytes
  }
  // Of the same length and in the same place, as a torn write leaves one that is written again.
  const other = encodeSubjects([subjectOf('climate')], whole, parts, systemRandom)
  expect(other.frame).toHaveLength(next.frame.length)
  refused(marked(Buffer.concat([whole.bytes, other.frame, last.frame])))
  const elsewhere = { ...whole, end: whole.end + 64 }
  const moved = encodeSubjects(two, elsewhere, parts, systemRandom)
  refused(marked(Buffer.concat([whole.bytes, moved.frame])))
  const renamed = Buffer.from(whole.bytes)
  renamed.writeUInt32BE(4, 8)
  refused(marked(renamed, 4), { ...parts, generation: 4 })
  refused(marked(Buffer.from(whole.bytes), 4))
  const changed = added()
  changed[15] = 1
  expect(() => readGeneration(changed)).toThrow('its head was changed')
})
