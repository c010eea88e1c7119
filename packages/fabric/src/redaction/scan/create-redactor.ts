import { hmacKey } from '../../lib/hmac.ts'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { NO_CONTEXT } from '../detectors/context.ts'
import { OPERATORS_DEFAULT, type Operator } from '../detectors/operators.ts'
import {
  InspectionWork,
  inspectionStepsMax,
  stepsLimit,
  TooManyFindings,
  TooMuchWork,
} from '../inspection-work.ts'
import { JsonShape } from '../json/json-shape.ts'
import { JsonFault } from '../json/json-string.ts'
import {
  type DataClass,
  findingsLimit,
  isDataClass,
  type Redacted,
  type RedactionRequest,
  type Redactor,
} from '../redactor.ts'
import { decodeBody } from '../text/decode-body.ts'
import { bodyFormOf, bodyFormOfUntyped, type Reading } from '../text/media-type.ts'
import { maskToFixpoint } from './fixpoint.ts'
import { inspectForm } from './inspect-form.ts'
import { inspectJson } from './inspect-json.ts'
import { type Cut, Inspection, type LeafPlace, planCuts } from './inspection.ts'
import { scanView } from './scan-view.ts'

export interface RedactionLimits {
  readonly bodyBytesMax: number
  /** Arrays and objects inside one another. */
  readonly depthMax: number
  readonly findingsMax: number
  /** Maximum cost of one inspection, in steps of some ten nanoseconds. */
  readonly stepsMax: number
}

export const REDACTION_LIMITS_DEFAULT: RedactionLimits = {
  /** The same as `parseStrictJson` takes. */
  bodyBytesMax: 16 * 1024 * 1024,
  /** A2A and MCP messages nest less than twenty deep. */
  depthMax: 64,
  findingsMax: findingsLimit.value,
  stepsMax: inspectionStepsMax,
}

export interface RedactorOptions {
  /**
   * Keys the `hash` operator; at least 32 bytes. A holder of the key can recover values by trial.
   */
  readonly hashKey: Uint8Array
  readonly limits?: Partial<RedactionLimits>
  readonly operators?: Partial<Record<DataClass, Operator>>
}

interface Settings {
  readonly hashKey: Uint8Array
  readonly limits: RedactionLimits
  readonly operators: Readonly<Record<DataClass, Operator>>
}

/** The redactor that the fabric runs. Holds no state between bodies. */
export function createRedactor(options: RedactorOptions): Redactor {
  if (options.hashKey.length < 32) throw new TypeError('the hash key needs at least 32 bytes')
  const settings: Settings = {
    hashKey: hmacKey(options.hashKey),
    limits: { ...REDACTION_LIMITS_DEFAULT, ...options.limits },
    operators: { ...OPERATORS_DEFAULT, ...options.operators },
  }
  return { redact: (body, contentType, order) => redact(settings, { body, contentType }, order) }
}

function redact(
  settings: Settings,
  message: { body: Uint8Array; contentType: string },
  order: RedactionRequest,
): Redacted | Refusal {
  const { body: given, contentType } = message
  const unknown = order.mask.find(isUnknown) ?? order.block.find(isUnknown)
  // An undetectable class would pass unmasked; policy asked for more than we can do.
  if (unknown !== undefined) return new Refusal('UNDECIDED', `data class ${unknown} is unknown`)
  if (given.length === 0) return { body: given, findings: [] }
  if (given.length > settings.limits.bodyBytesMax) {
    const limit = {
      name: 'inspect.bodyBytes',
      value: settings.limits.bodyBytesMax,
      unit: 'bytes',
    } as const
    return overLimit('MESSAGE_TOO_LARGE', limit, `${given.length} bytes`)
  }
  const form = contentType === '' ? bodyFormOfUntyped(given) : bodyFormOf(contentType)
  if (form === null) {
    return new Refusal('CONTENT_UNSUPPORTED', 'no detector reads this media type')
  }
  const body = decodeBody(given, form)
  if (body instanceof Refusal) return body
  const { hashKey, operators, limits } = settings
  const { findingsMax } = limits
  const { mask } = order
  const work = order.work ?? new InspectionWork(limits.stepsMax)
  const inspection = new Inspection({ hashKey, operators, body, mask, findingsMax, work })
  const refusal = inspect(body, form.reading, { inspection, limits, order })
  const redacted = refusal ?? conclude(body, form.reading, { inspection, order })
  // Decoded content leaves as UTF-8, and its content type states that: the receiver reads what was
  // inspected.
  return redacted instanceof Refusal || body === given
    ? redacted
    : { ...redacted, contentType: form.essence === '' ? '' : `${form.essence}; charset=utf-8` }
}

const isUnknown = (name: string): boolean => !isDataClass(name)

function inspect(
  body: Uint8Array,
  reading: Reading,
  deps: { inspection: Inspection; limits: RedactionLimits; order: RedactionRequest },
): Refusal | null {
  const { inspection, limits, order } = deps
  try {
    if (reading === 'json') inspectJson(body, inspection, limits.depthMax)
    else if (reading === 'form') inspectForm(body, inspection)
    else {
      const view = { bytes: body, from: 0, to: body.length, map: null, whole: null }
      const { work } = inspection
      let shape: JsonShape | null | undefined
      const place: LeafPlace = {
        ...textPlace,
        shape: () => (shape === undefined ? (shape = JsonShape.of(view, '"', work)) : shape),
      }
      scanView(view, (part) => inspection.open(part, place))
      const leaf = { body, start: 0, end: body.length, place }
      maskToFixpoint({ ...leaf, decode: (masked) => masked }, inspection, 0)
    }
    return null
  } catch (error) {
    if (error instanceof JsonFault) return new Refusal('MESSAGE_MALFORMED', error.message)
    if (error instanceof TooManyFindings) {
      const value = limits.findingsMax
      return overLimit('MESSAGE_TOO_LARGE', { ...findingsLimit, value })
    }
    if (error instanceof TooMuchWork && order.work === undefined) {
      return overLimit('MESSAGE_TOO_LARGE', stepsLimit(limits.stepsMax), 'too costly to inspect')
    }
    throw error
  }
}

const textPlace: LeafPlace = { kind: 'text', path: () => 'text', fieldContext: () => NO_CONTEXT }

function conclude(
  body: Uint8Array,
  reading: Reading,
  { inspection, order }: { inspection: Inspection; order: RedactionRequest },
): Redacted | Refusal {
  if (inspection.count === 0) return { body, findings: [] }
  const hits = inspection.hitsSince(0)
  const blocked = hits.find(({ finding }) => order.block.includes(finding.dataClass))
  if (blocked !== undefined) {
    const { dataClass, detector, path } = blocked.finding
    return new Refusal('CONTENT_BLOCKED', `${dataClass} (${detector}) at ${path}`)
  }
  const cuts = planCuts(hits)
  const findings = hits.map(({ finding }) => finding)
  return { body: cuts.length === 0 ? body : splice(body, reading, cuts), findings }
}

/**
 * The body with every cut replaced and every other byte as it was: big numbers, `1.0`, escapes and
 * white space survive. A number that is cut becomes a string: its marker brings quotes.
 */
function splice(body: Uint8Array, reading: Reading, cuts: readonly Cut[]): Uint8Array {
  const markers =
    reading === 'form'
      ? cuts.map(({ marker }) => encodeURIComponent(marker))
      : cuts.map(({ marker }) => marker)
  let size = body.length
  for (const [i, { start, end }] of cuts.entries()) size += (markers[i]?.length ?? 0) + start - end
  const spliced = new Uint8Array(size)
  let at = 0
  let to = 0
  const add = (bytes: Uint8Array): void => {
    spliced.set(bytes, to)
    to += bytes.length
  }
  for (const [i, { start, end }] of cuts.entries()) {
    add(body.subarray(at, start))
    // A marker is ASCII.
    const marker = markers[i] ?? ''
    for (let k = 0; k < marker.length; k++) spliced[to++] = marker.charCodeAt(k)
    at = end
  }
  add(body.subarray(at))
  return spliced
}
