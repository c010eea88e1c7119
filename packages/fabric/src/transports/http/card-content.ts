import { type JsonValue, parseStrictJson, parseUtf8 } from '@countersign/protocol'
import { foldedName, foldedText } from './folded-name.ts'

/**
 * Words of which every agent card has one as a member: `skills` with `url` in 0.3, the other in 1.0.
 * An escape could hide any of them, and then there is a backslash.
 */
const words: readonly string[] = ['kills', 'nterfaces', '\\u']
const laxMemberForm =
  /(skills|capabilities|supportedinterfaces|additionalinterfaces|url)["'`\s]{0,16}:/g

/**
 * Whether an answer that was not asked for as an agent card is one all the same: its addresses and
 * its security would lead past the fabric. Cards are told by what they hold, under whatever path and
 * media type; one that is a value deep inside another document is that document's affair.
 */
export function holdsCard(body: Uint8Array): boolean {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
  if (!words.some((word) => bytes.includes(word)) && !/nterfaces|kills/i.test(headOf(bytes))) {
    return false
  }
  let text: string
  try {
    text = parseUtf8(body).replace(/^\ufeff/, '')
  } catch {
    // Refused as malformed before anyone reads it.
    return false
  }
  let value: JsonValue
  try {
    value = parseStrictJson(text)
  } catch {
    return mayHoldLaxCard(text)
  }
  return [value, ...membersOf(value)].some(isCard)
}

/** Case is folded only where it is cheap: in answers of ordinary length. */
const foldedBytesMax = 65_536

function headOf(bytes: Buffer): string {
  return bytes.length > foldedBytesMax ? '' : bytes.toString('latin1')
}

/** What a client may take for the card: the answer itself, a member of it, or the result of a call. */
function membersOf(value: JsonValue): readonly JsonValue[] {
  if (typeof value !== 'object' || value === null) return []
  const inner: readonly JsonValue[] = Object.values(value)
  const { result } = value as { readonly result?: JsonValue }
  return typeof result === 'object' && result !== null
    ? [...inner, ...Object.values(result)]
    : inner
}

function isCard(value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return hasNamesOfCard(new Set(Object.keys(value).map(foldedName)))
}

function hasNamesOfCard(names: ReadonlySet<string>): boolean {
  const leads = ['supportedinterfaces', 'additionalinterfaces', 'url'].some((name) =>
    names.has(name),
  )
  return leads && names.has('skills') && names.has('capabilities')
}

/** JSON as lax readers take it: with comments, a prefix, single quotes. */
function mayHoldLaxCard(text: string): boolean {
  const folded = foldedText(text.replaceAll(/\\u([0-9a-fA-F]{4})/g, unescape))
  return hasNamesOfCard(
    new Set(Array.from(folded.matchAll(laxMemberForm), ([, name = '']) => name)),
  )
}

function unescape(_: string, digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 16))
}
