import { parseUtf8, toHex } from '../encoding/bytes.ts'

/**
 * A reader for the Distinguished Encoding Rules (X.690), as narrow as certificates allow.
 *
 * Identity hangs on these bytes, so anything with a second reading is refused: long tags,
 * indefinite or padded lengths, trailing bytes, explicit defaults.
 */
export interface DerElement {
  /** The identifier octet, class and constructed bit included. */
  readonly tag: number
  readonly content: Uint8Array
  /** Identifier, length and content, exactly as they came. */
  readonly encoded: Uint8Array
}

export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const

export class DerError extends Error {
  override readonly name = 'DerError'
}

/** No certificate we accept has a sequence of more members; SAN lists are the longest. */
const childrenMax = 256

/** Exactly one element that fills `bytes`. */
export function readDer(bytes: Uint8Array, tag: number): DerElement {
  const element = elementAt(bytes, 0)
  if (element.encoded.length !== bytes.length) throw new DerError('bytes follow the element')
  if (element.tag !== tag) throw new DerError(`tag ${element.tag} where ${tag} belongs`)
  return element
}

/** The members of a constructed element, in order. */
export function derMembers(element: DerElement): readonly DerElement[] {
  if ((element.tag & 0x20) === 0) throw new DerError('a primitive element has no members')
  const members: DerElement[] = []
  let at = 0
  while (at < element.content.length) {
    if (members.length === childrenMax) throw new DerError('too many members')
    const member = elementAt(element.content, at)
    members.push(member)
    at += member.encoded.length
  }
  return members
}

function elementAt(bytes: Uint8Array, at: number): DerElement {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined) throw new DerError('an element is cut short')
  if ((tag & 0x1f) === 0x1f) throw new DerError('long tags do not occur in certificates')
  let start = at + 2
  let length = first
  if (first >= 0x80) {
    const count = first & 0x7f
    if (count === 0 || count > 3) throw new DerError('the length is indefinite or absurd')
    length = 0
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? 0)
    start += count
    if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError('the length is padded')
  }
  const end = start + length
  if (end > bytes.length) throw new DerError('an element is cut short')
  return { tag, content: bytes.subarray(start, end), encoded: bytes.subarray(at, end) }
}

export function expectDer(element: DerElement | undefined, tag: number): DerElement {
  if (element?.tag !== tag) throw new DerError(`tag ${element?.tag} where ${tag} belongs`)
  return element
}

/** X.690, section 11.1: true is 0xff; false is 0x00. */
export function derBoolean(element: DerElement): boolean {
  const [byte] = expectDer(element, DER.boolean).content
  if (element.content.length !== 1 || (byte !== 0 && byte !== 0xff)) {
    throw new DerError('a boolean is malformed')
  }
  return byte === 0xff
}

/** The two's complement bytes of a minimal integer (X.690, section 8.3.2). */
export function derIntegerBytes(element: DerElement): Uint8Array {
  const bytes = expectDer(element, DER.integer).content
  const [first, second] = bytes
  if (first === undefined) throw new DerError('an integer is empty')
  if (second !== undefined && (first === 0 ? second < 0x80 : first === 0xff && second >= 0x80)) {
    throw new DerError('an integer is padded')
  }
  return bytes
}

/** A non-negative integer below 2^31. */
export function derSmallInteger(element: DerElement): number {
  const bytes = derIntegerBytes(element)
  if (bytes.length > 4 || (bytes[0] ?? 0) >= 0x80) throw new DerError('an integer is out of range')
  return bytes.reduce((value, byte) => value * 256 + byte, 0)
}

/** The bits as bytes, first bit highest; unused bits must be zero (X.690, section 11.2.1). */
export function derBits(element: DerElement): { bytes: Uint8Array; unused: number } {
  const content = expectDer(element, DER.bitString).content
  const unused = content[0]
  const bytes = content.subarray(1)
  if (unused === undefined || unused > 7 || (bytes.length === 0 && unused > 0)) {
    throw new DerError('a bit string is malformed')
  }
  if (((bytes.at(-1) ?? 0) & ((1 << unused) - 1)) !== 0) throw new DerError('unused bits are set')
  return { bytes, unused }
}

/** Dotted decimal. */
export function derOid(element: DerElement): string {
  const bytes = expectDer(element, DER.oid).content
  if (bytes.length === 0 || bytes.length > 32 || (bytes.at(-1) ?? 0) >= 0x80) {
    throw new DerError(`an object identifier is malformed: ${toHex(bytes.subarray(0, 32))}`)
  }
  const arcs: number[] = []
  let arc = 0
  for (const [i, byte] of bytes.entries()) {
    const starts = i === 0 || (bytes[i - 1] ?? 0) < 0x80
    if (starts && byte === 0x80) throw new DerError('an object identifier is padded')
    arc = arc * 128 + (byte & 0x7f)
    if (!Number.isSafeInteger(arc)) throw new DerError('an object identifier is out of range')
    if (byte < 0x80) {
      arcs.push(arc)
      arc = 0
    }
  }
  const [head = 0, ...tail] = arcs
  const top = Math.min(2, Math.floor(head / 40))
  return [top, head - top * 40, ...tail].join('.')
}

/** Unix milliseconds; UTC with seconds and no fraction, as RFC 5280, section 4.1.2.5, demands. */
export function derTime(element: DerElement | undefined): number {
  const short = element?.tag === DER.utcTime
  if (element === undefined || (!short && element.tag !== DER.generalizedTime)) {
    throw new DerError('a time is malformed')
  }
  const text = derAscii(element.content)
  if (!(short ? /^\d{12}Z$/ : /^\d{14}Z$/).test(text)) throw new DerError('a time is malformed')
  const century = Number(text.slice(0, 2)) < 50 ? '20' : '19'
  const digits = short ? century + text : text
  const part = (from: number, to: number): string => digits.slice(from, to)
  const date = `${part(0, 4)}-${part(4, 6)}-${part(6, 8)}`
  const iso = `${date}T${part(8, 10)}:${part(10, 12)}:${part(12, 14)}.000Z`
  const time = Date.parse(iso)
  // The round trip refuses the 31st of February, which Date would move to March.
  if (Number.isNaN(time) || new Date(time).toISOString() !== iso) {
    throw new DerError('a time does not exist')
  }
  return time
}

/** Printable ASCII. A NUL or a control character in a name has fooled verifiers before. */
export function derAscii(content: Uint8Array): string {
  if (content.some((byte) => byte < 0x20 || byte > 0x7e)) {
    throw new DerError('a text is not printable ASCII')
  }
  return parseUtf8(content)
}
