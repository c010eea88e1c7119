import { parseUtf8, utf8 } from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import type { Finding, RedactionOrder, Redactor } from '../redaction/redactor.ts'

export type Fields = readonly (readonly [string, string])[]

export interface InspectedFields {
  readonly fields: Fields
  readonly findings: readonly Finding[]
}

/** Machines make these up; nobody's words are in them, and without them nothing works. */
const opaqueNames: ReadonlySet<string> = new Set([
  'accept',
  'content-digest',
  'content-length',
  'content-type',
  'mcp-session-id',
  'signature',
  'signature-input',
  'traceparent',
  'tracestate',
])

/** Fields that repeat arguments of a call under the argument's name (MCP 2026-07-28). */
const argumentPrefix = 'mcp-param-'

/**
 * Leaves out every field in which something is found that policy masks or blocks. A head has no
 * place for a marker that both ends would understand, and a field that nobody sees harms nobody.
 */
export function inspectFields(
  fields: Fields,
  order: RedactionOrder,
  redactor: Redactor,
): InspectedFields {
  const worded = fields.filter(([name]) => !opaqueNames.has(name))
  // One look at all of them, with bytes between them that join nothing, spares the usual head a look
  // at each; a field with names in it has to be read as a whole.
  const text = worded.map(([, value]) => value).join('\0')
  const isClean = !worded.some(hasNames) && found(text, order, redactor).length === 0
  if (isClean) return { fields, findings: [] }
  const findings: Finding[] = []
  const kept = fields.filter((field) => {
    if (opaqueNames.has(field[0])) return true
    const here = findingsOf(field, order, redactor)
    findings.push(...here)
    return here.length === 0
  })
  return { fields: kept, findings }
}

const hasNames = ([name, value]: Fields[number]): boolean =>
  name.startsWith(argumentPrefix) || /^\s*[[{]/.test(value)

function findingsOf(
  [name, value]: Fields[number],
  order: RedactionOrder,
  redactor: Redactor,
): readonly Finding[] {
  if (!name.startsWith(argumentPrefix)) {
    return found(value, order, redactor).map((finding) => ({ ...finding, path: `header ${name}` }))
  }
  const argument = name.slice(argumentPrefix.length)
  const inName = found(argument, order, redactor)
  const inValue = found(value, order, redactor)
  // The name says what the value is, as that of a form's field does.
  const pair = `${encodeURIComponent(argument)}=${encodeURIComponent(value)}`
  const byName = inValue.length > 0 ? [] : found(pair, order, redactor, form)
  const shown = inName[0] === undefined ? argument : `[${inName[0].dataClass.toUpperCase()}]`
  const path = `header ${argumentPrefix}${shown}`
  return [...inName, ...inValue, ...byName].map((finding) => ({ ...finding, path }))
}

/** A path means something to its receiver as a whole: what may not be in it refuses the request. */
export function inspectPath(
  path: string,
  order: RedactionOrder,
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
  order: RedactionOrder,
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

/** What of `text` policy masks or blocks. Throws when the redactor cannot tell. */
function found(
  text: string,
  { mask, block }: RedactionOrder,
  redactor: Redactor,
  contentType = 'text/plain',
): readonly Finding[] {
  if (text === '' || (mask.length === 0 && block.length === 0)) return []
  const order = { mask: [...mask, ...block], block: [] }
  const redacted = redactor.redact(utf8(text), contentType, order)
  if (redacted instanceof Refusal) throw new Error(`${redacted.code}: ${redacted.detail}`)
  return redacted.findings.filter(({ operator }) => operator !== 'none')
}
