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

/**
 * Leaves out every field in which something is found that policy masks or blocks. A head has no
 * place for a marker that both ends would understand, and a field that nobody sees harms nobody.
 */
export function inspectFields(
  fields: Fields,
  order: RedactionOrder,
  redactor: Redactor,
): InspectedFields {
  const text = fields.flatMap(([name, value]) => (opaqueNames.has(name) ? [] : [value])).join('\n')
  if (found(text, order, redactor).length === 0) return { fields, findings: [] }
  const findings: Finding[] = []
  const kept = fields.filter(([name, value]) => {
    if (opaqueNames.has(name)) return true
    const here = found(value, order, redactor)
    findings.push(...here.map((finding) => ({ ...finding, path: `header ${name}` })))
    return here.length === 0
  })
  return { fields: kept, findings }
}

/** A path means something to its receiver as a whole: what may not be in it refuses the request. */
export function inspectPath(
  path: string,
  order: RedactionOrder,
  redactor: Redactor,
): Refusal | null {
  const [finding] = found(path.replaceAll('+', ' '), order, redactor)
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

/** What of `text` policy masks or blocks. Throws when the redactor cannot tell. */
function found(
  text: string,
  { mask, block }: RedactionOrder,
  redactor: Redactor,
): readonly Finding[] {
  if (text === '' || (mask.length === 0 && block.length === 0)) return []
  const order = { mask: [...mask, ...block], block: [] }
  const redacted = redactor.redact(utf8(text), 'text/plain', order)
  if (redacted instanceof Refusal) throw new Error(`${redacted.code}: ${redacted.detail}`)
  return redacted.findings.filter(({ operator }) => operator !== 'none')
}
