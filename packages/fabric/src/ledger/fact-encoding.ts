import { factBytesMax, isFactName } from '@countersign/protocol'
import type { FactValue } from './ledger.ts'

/** A head, and three bytes for each UTF-16 unit at most. */
const headBytesMax = 9

/** No fewer bytes than `writeFact` needs. */
export function factBytesBound(name: string, value: FactValue): number {
  const valueBytes =
    typeof value === 'string' ? value.length * 3 : value instanceof Uint8Array ? value.length : 0
  return 3 * headBytesMax + name.length + valueBytes
}

/**
 * The bytes of the protocol's `encodeFact`, written to `target` at `at`; gives their end. A dozen
 * facts an entry, at ten thousand entries a second, are worth not making two arrays for each.
 */
export function writeFact(target: Buffer, at: number, name: string, value: FactValue): number {
  if (!isFactName(name)) throw new TypeError('not a fact name')
  target[at] = 0x82
  let end = writeText(target, at + 1, name)
  if (typeof value === 'string') end = writeText(target, end, value)
  else if (typeof value === 'number') end = writeInteger(target, end, value)
  else if (typeof value === 'boolean') target[end++] = value ? 0xf5 : 0xf4
  else {
    end = writeHead(target, end, 2, value.length)
    target.set(value, end)
    end += value.length
  }
  if (end - at > factBytesMax) throw new RangeError('the fact is too large')
  return end
}

/** Below this many characters a plain loop beats three calls out of JavaScript. */
const loopCharactersMax = 96

/** A text item, in UTF-8; gives its end. */
export function writeText(target: Buffer, at: number, text: string): number {
  if (text.length <= loopCharactersMax) {
    const end = writeAscii(target, at, text)
    if (end !== null) return end
  }
  if (!text.isWellFormed()) throw new TypeError('CBOR text is well-formed Unicode')
  const start = writeHead(target, at, 3, Buffer.byteLength(text))
  return start + target.write(text, start, 'utf8')
}

/** Null unless every character is ASCII; `target` is then written over. */
function writeAscii(target: Buffer, at: number, text: string): number | null {
  let end = writeHead(target, at, 3, text.length)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return null
    target[end++] = code
  }
  return end
}

function writeInteger(target: Buffer, at: number, value: number): number {
  if (!Number.isSafeInteger(value)) throw new TypeError('CBOR integers are safe integers here')
  return value >= 0 ? writeHead(target, at, 0, value) : writeHead(target, at, 1, -1 - value)
}

/** The shortest form (RFC 8949, section 4.2.1). */
export function writeHead(target: Buffer, at: number, major: number, argument: number): number {
  const type = major << 5
  if (argument < 24) {
    target[at] = type | argument
    return at + 1
  }
  if (argument < 0x100) {
    target[at] = type | 24
    target[at + 1] = argument
    return at + 2
  }
  if (argument < 0x10000) return target.writeUInt16BE(argument, target.writeUInt8(type | 25, at))
  if (argument < 0x1_0000_0000) {
    return target.writeUInt32BE(argument, target.writeUInt8(type | 26, at))
  }
  return target.writeBigUInt64BE(BigInt(argument), target.writeUInt8(type | 27, at))
}
