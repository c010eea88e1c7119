import {
  controlAt,
  formatContentDigest,
  parseBase64,
  parseUtf8,
  type SignedMessage,
  utf8,
} from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import type { Finding, RedactionRequest, Redactor } from '../redaction/redactor.ts'

export type Fields = readonly (readonly [string, string])[]

export interface InspectedFields {
  readonly fields: Fields
  readonly findings: readonly Finding[]
}

/** Computed here or checked against the body, and rebuilt from one form. */
const rebuiltNames: ReadonlySet<string> = new Set([
  'content-digest',
  'content-length',
  'signature',
  'signature-input',
])

/** Fields that repeat arguments of a call under the argument's name (MCP 2026-07-28). */
const argumentPrefix = 'mcp-param-'

/**
 * Removes every field in which the redactor finds data that policy masks or blocks. A head has no
 * place for a marker that both ends would understand, and a removed field does no harm. Content
 * that readers decode differently is also removed: bytes beyond ASCII, encoded words.
 */
export function inspectFields(
  fields: Fields,
  order: RedactionRequest,
  redactor: Redactor,
): InspectedFields {
  const plain = fields.every(isPlain) ? fields : fields.filter(isPlain)
  const worded = plain.filter(isWorded)
  // One look at all of them spares the usual head a look at each: what two values make together is
  // looked for again in each alone. A field with names in it has to be read as a whole.
  const text = worded.map(([, value]) => value).join('\n\n')
  const isClean = !worded.some(hasNames) && found(text, order, redactor).length === 0
  if (isClean) return { fields: plain, findings: [] }
  const findings: Finding[] = []
  const kept = plain.flatMap((field): Fields => {
    if (!isWorded(field)) return [field]
    const here = findingsOf(field, order, redactor)
    findings.push(...here)
    return here.length === 0 ? [field] : withoutParameters(field)
  })
  return { fields: kept, findings }
}

/**
 * Identifiers made by machines, whose digits do not form a meaningful number: a UUID, or
 * hexadecimal of that length.
 */
const machineId =
  /^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32,128})$/i
/** Trace Context, level 1, section 3.2. */
const traceParent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

function isWorded([name, value]: Fields[number]): boolean {
  if (rebuiltNames.has(name)) return false
  if (name === 'mcp-session-id') return !machineId.test(value)
  return true
}

const beyondAscii = /[^\t\x20-\x7e]/

/** `=?base64?…?=` is MCP's, and is decoded before it is inspected. */
function isPlain([name, value]: Fields[number]): boolean {
  if (beyondAscii.test(value)) return false
  if (name === 'traceparent') return traceParent.test(value)
  return !value.includes('=?') || (name.startsWith('mcp-') && decodeMirrored(value) !== null)
}

/**
 * A body without its type would be read as something else. The parameters do not affect that, so
 * they are dropped.
 */
function withoutParameters([name, value]: Fields[number]): Fields {
  if (name !== 'content-type') return []
  const [essence = ''] = value.split(';', 1)
  return [[name, essence.trim()]]
}

/**
 * Without its type a body would be read as something else: one that holds data refuses its message.
 */
export function inspectMediaType(
  fields: Fields,
  order: RedactionRequest,
  redactor: Redactor,
): Refusal | null {
  for (const [name, value] of fields) {
    const [finding] = name === 'content-type' ? found(value, order, redactor) : []
    if (finding === undefined) continue
    const { dataClass, detector } = finding
    return new Refusal('CONTENT_BLOCKED', `${dataClass} (${detector}) in the media type`)
  }
  return null
}

const hasNames = ([name, value]: Fields[number]): boolean =>
  name.startsWith('mcp-') || /^\s*[[{]/.test(value)

function findingsOf(
  [name, given]: Fields[number],
  order: RedactionRequest,
  redactor: Redactor,
): readonly Finding[] {
  const value = name.startsWith('mcp-') ? (decodeMirrored(given) ?? given) : given
  if (!name.startsWith(argumentPrefix)) {
    return found(value, order, redactor).map((finding) => ({ ...finding, path: `header ${name}` }))
  }
  const argument = name.slice(argumentPrefix.length)
  const inName = found(argument, order, redactor)
  const inValue = found(value, order, redactor)
  // The name states what the value is, as the name of a form field does.
  const pair = `${encodeURIComponent(argument)}=${encodeURIComponent(value)}`
  const byName = inValue.length > 0 ? [] : found(pair, order, redactor, form)
  const shown = inName[0] === undefined ? argument : `[${inName[0].dataClass.toUpperCase()}]`
  const path = `header ${argumentPrefix}${shown}`
  return [...inName, ...inValue, ...byName].map((finding) => ({ ...finding, path }))
}

/**
 * MCP 2026-07-28: values outside safe ASCII travel as `=?base64?…?=`. Null for one that decoders
 * would not agree on: other base64, bytes that are not UTF-8, control characters.
 */
export function decodeMirrored(value: string): string | null {
  const match = /^=\?base64\?(.*)\?=$/.exec(value)
  if (match === null) return value.startsWith('=?') ? null : value
  const bytes = parseBase64(match[1] ?? '')
  if (bytes === null || controlAt(bytes) >= 0) return null
  try {
    return parseUtf8(bytes)
  } catch {
    return null
  }
}

/** The fields of a body that was decoded to `contentType`; as they are where it is undefined. */
export function withContentType(fields: Fields, contentType: string | undefined): Fields {
  if (contentType === undefined) return fields
  const rest = fields.filter(([name]) => name !== 'content-type')
  return contentType === '' ? rest : [...rest, ['content-type', contentType]]
}

/**
 * Inspects the parts of a forwarded signature that the signer chose freely: the names that it
 * covers and its nonce. No part can be removed from a signature, so a finding there stops the
 * message.
 */
export function inspectSignature(
  { components, nonce }: Pick<SignedMessage, 'components' | 'nonce'>,
  order: RedactionRequest,
  redactor: Redactor,
): string | null {
  const drawn = nonce === null || machineId.test(nonce) ? '' : nonce
  const [finding] = found(`${components.join('\n')}\n${drawn}`, order, redactor)
  if (finding === undefined) return null
  return `${finding.dataClass} (${finding.detector}) in the parameters of the signature`
}

/** The fields without a digest that is not that of the body; null where the body is a stream. */
export function withoutForeignDigest(fields: Fields, digest: Uint8Array | null): Fields {
  const own = digest === null ? null : formatContentDigest(digest)
  const isForeign = ([name, value]: Fields[number]) => name === 'content-digest' && value !== own
  return fields.some(isForeign) ? fields.filter((field) => !isForeign(field)) : fields
}

/** A path means something to its receiver as a whole: what may not be in it refuses the request. */
export function inspectPath(
  path: string,
  order: RedactionRequest,
  redactor: Redactor,
): Refusal | null {
  const query = path.includes('?') ? path.slice(path.indexOf('?') + 1) : ''
  const [finding] = [
    ...found(path.replaceAll('+', ' '), order, redactor),
    ...found(query, order, redactor, form),
  ]
  if (finding === undefined) return null
  const { dataClass, detector } = finding
  return new Refusal('CONTENT_BLOCKED', `${dataClass} (${detector}) in the path`)
}

/** The frame of an event, with what policy masks in its values masked, as in its data. */
export function maskFrame(
  frame: Fields,
  order: RedactionRequest,
  redactor: Redactor,
): InspectedFields | Refusal {
  const findings: Finding[] = []
  const fields: (readonly [string, string])[] = []
  for (const [name, value] of frame) {
    const redacted = redactor.redact(utf8(value), 'text/plain', order)
    if (redacted instanceof Refusal) return redacted
    findings.push(...redacted.findings)
    fields.push([name, parseUtf8(redacted.body)])
  }
  return { fields, findings }
}

const form = 'application/x-www-form-urlencoded'

const cleanLengthMax = 512
const cleanTextsMax = 512

interface CleanTexts {
  readonly block: readonly string[]
  readonly texts: Set<string>
}

/** By redactor and by the lists of one policy, which live as long as the policy does. */
const cleanTexts = new WeakMap<Redactor, WeakMap<readonly string[], CleanTexts>>()

/**
 * Texts in which nothing was found: clients send the same heads again and again, and the same
 * search for the same classes finds the same nothing. Filled by callers, so its size is bounded.
 */
function cleanTextsOf(redactor: Redactor, { mask, block }: RedactionRequest): Set<string> {
  const byMask = cleanTexts.get(redactor) ?? new WeakMap<readonly string[], CleanTexts>()
  cleanTexts.set(redactor, byMask)
  const known = byMask.get(mask)
  if (known?.block === block) return known.texts
  const texts = new Set<string>()
  byMask.set(mask, { block, texts })
  return texts
}

/**
 * Returns the findings in `text` that policy masks or blocks. Throws when the redactor cannot
 * decide.
 */
function found(
  text: string,
  { mask, block, work }: RedactionRequest,
  redactor: Redactor,
  contentType = 'text/plain',
): readonly Finding[] {
  if (text === '' || (mask.length === 0 && block.length === 0)) return []
  const clean = text.length > cleanLengthMax ? null : cleanTextsOf(redactor, { mask, block })
  const key = `${contentType} ${text}`
  if (clean?.has(key) === true) return []
  const account = work === undefined ? {} : { work }
  const order = { mask: [...mask, ...block], block: [], ...account }
  const redacted = redactor.redact(utf8(text), contentType, order)
  if (redacted instanceof Refusal) throw new Error(`${redacted.code}: ${redacted.detail}`)
  const masked = redacted.findings.filter(({ operator }) => operator !== 'none')
  if (masked.length === 0 && clean !== null) {
    if (clean.size >= cleanTextsMax) clean.clear()
    clean.add(key)
  }
  return masked
}
