import { isJsonEssence, parseMediaType } from '@countersign/protocol'
import { afterWhiteSpace } from './json-white-space.ts'

/** The way in which a body of some media type is read. */
export type Reading = 'json' | 'text' | 'form'

/** The charsets whose text is inspected; all of them hold ASCII as it is. */
export type Charset = 'utf-8' | 'us-ascii' | 'iso-8859-1' | 'windows-1252'

export interface BodyForm {
  readonly reading: Reading
  readonly charset: Charset
  /** `type/subtype`, in lower case; empty for a body without a media type. */
  readonly essence: string
}

/** Every label under which common readers know these charsets alike (IANA, WHATWG Encoding). */
const charsets: ReadonlyMap<string, Charset> = new Map([
  ['utf-8', 'utf-8'],
  ['utf8', 'utf-8'],
  ['us-ascii', 'us-ascii'],
  ['ascii', 'us-ascii'],
  ['iso-8859-1', 'iso-8859-1'],
  ['iso8859-1', 'iso-8859-1'],
  ['latin1', 'iso-8859-1'],
  ['windows-1252', 'windows-1252'],
  ['cp1252', 'windows-1252'],
])

/** By a label in lower case. */
export function isInspectedCharset(label: string): boolean {
  return charsets.has(label)
}

/** Undefined where it is not inspected. */
export function charsetOf(label: string): Charset | undefined {
  return charsets.get(label)
}

const textForm = /^text\/[a-z0-9.!#$&^_+-]{1,100}$/
const formEssence = 'application/x-www-form-urlencoded'

/** The form of nearly every message. */
const plainJson: BodyForm = { reading: 'json', charset: 'utf-8', essence: 'application/json' }

/**
 * Returns the reading for content of this type, or null if it cannot be inspected. In a charset
 * that is not in the table the receiver would read other characters than the detectors did. JSON is
 * UTF-8 (RFC 8259, section 8.1) and so is a form (WHATWG URL, section 5). Events of a stream are
 * handed over one by one, as the media type of their data.
 */
export function bodyFormOf(contentType: string): BodyForm | null {
  if (contentType === plainJson.essence) return plainJson
  const media = parseMediaType(contentType)
  if (media === null) return null
  const { essence } = media
  if (essence === 'text/event-stream') return null
  const reading = readingOf(essence)
  const charset = reading === null ? null : charsetFor(reading, media.charset)
  return reading === null || charset === null ? null : { reading, charset, essence }
}

function readingOf(essence: string): Reading | null {
  if (isJsonEssence(essence)) return 'json'
  if (essence === formEssence) return 'form'
  return textForm.test(essence) ? 'text' : null
}

/**
 * The charset in which content of this reading is inspected, by the label in its media type, if
 * any; null where it cannot be: then its receiver would read what the detectors did not. Asked for
 * whole bodies and for the frames of a stream alike.
 */
export function charsetFor(reading: Reading, label: string | null | undefined): Charset | null {
  const charset = charsets.get(label ?? 'utf-8')
  if (charset === undefined) return null
  return reading === 'text' || charset === 'utf-8' ? charset : null
}

/**
 * A body without a media type is whatever its receiver takes it for (RFC 9110, section 8.3): what
 * starts like JSON could be parsed as JSON and so has to be; anything else is inspected as text.
 */
export function bodyFormOfUntyped(body: Uint8Array): BodyForm {
  const first = body[afterWhiteSpace(body, 0, body.length)]
  const reading = first === 0x7b || first === 0x5b ? 'json' : 'text'
  return { reading, charset: 'utf-8', essence: '' }
}
