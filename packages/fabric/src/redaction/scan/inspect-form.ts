import { indexContext, NO_CONTEXT } from '../detectors/context.ts'
import { bracketRule, joinedRule } from '../detectors/name-path.ts'
import { type SecretRule, secretRule } from '../detectors/secret-names.ts'
import { isSecretValue, looksMade } from '../detectors/secret-values.ts'
import { STEPS } from '../inspection-work.ts'
import { JsonShape } from '../json/json-shape.ts'
import { textOf } from '../json/json-string.ts'
import { Decoded, originOf } from '../text/decode.ts'
import { HEX } from '../text/escapes.ts'
import type { ContextIndex, View } from '../text/view.ts'
import { maskToFixpoint } from './fixpoint.ts'
import { type FormField, pairedRules } from './form-pairs.ts'
import type { Inspection, LeafPlace } from './inspection.ts'
import { scanView } from './scan-view.ts'

/** A path is kept with every finding. */
const pathNameLengthMax = 64

/**
 * Reads `name=value&…` (WHATWG URL, section 5.1) and reports into `inspection`; names are searched
 * too.
 */
export function inspectForm(body: Uint8Array, inspection: Inspection): void {
  const paired = pairedRules(
    body,
    () => fieldsOf(body),
    ({ start, end }) => textOf(decodeForm(plainView(body, start, end))),
  )
  for (const field of fieldsOf(body)) {
    inspectPair(body, inspection, { ...field, rule: paired.get(field.value.start) ?? null })
  }
}

function* fieldsOf(body: Uint8Array): Generator<FormField> {
  let start = 0
  while (start <= body.length) {
    const sign = body.indexOf(0x26, start)
    const end = sign < 0 ? body.length : sign
    const equals = body.subarray(start, end).indexOf(0x3d)
    const nameEnd = equals < 0 ? end : start + equals
    const value = { start: Math.min(nameEnd + 1, end), end }
    if (start < end) yield { name: { start, end: nameEnd }, value }
    start = end + 1
  }
}

function inspectPair(
  body: Uint8Array,
  inspection: Inspection,
  pair: FormField & { rule: SecretRule | null },
): void {
  const { start, end: nameEnd } = pair.name
  const { end } = pair.value
  inspection.work.spend(STEPS.pair + STEPS.decodedByte * (end - start))
  const name = decodeForm(plainView(body, start, nameEnd))
  const fieldName = textOf(name)
  let path = '/'
  let shape: JsonShape | null | undefined
  const valueShape = (): JsonShape | null => {
    if (shape === undefined) shape = JsonShape.of(value, '"', inspection.work)
    return shape
  }
  // A name can be megabytes long, and its value asks once for every encoded part of it.
  let context: ContextIndex | null = null
  const place = (kind: 'key' | 'text'): LeafPlace => ({
    kind,
    shape: () => (kind === 'key' ? null : valueShape()),
    path: () => (kind === 'key' ? '' : path),
    fieldContext: () => (kind === 'key' ? NO_CONTEXT : (context ??= indexContext(name))),
  })
  const before = inspection.count
  scanView(name, (part) => inspection.open(part, place('key')))
  const nameText = { body, start, end: nameEnd, place: place('key') }
  maskToFixpoint({ ...nameText, decode: decodeForm }, inspection, before)
  const concealed = inspection.hitsSince(before)[0]?.finding.dataClass
  const shown = fieldName.length > pathNameLengthMax ? `[${nameEnd - start} bytes]` : fieldName
  path += concealed === undefined ? shown : `[${concealed.toUpperCase()}]`
  if (nameEnd === end) return
  const beforeValue = inspection.count
  const value = decodeForm(plainView(body, nameEnd + 1, end))
  const judge = (view: View): void => {
    const rule = ruleOf(fieldName, textOf(view), pair.rule)
    if (rule === null) return
    const { dataClass, detector } = rule
    inspection.add(view, place('text'), { dataClass, detector, start: view.from, end: view.to })
  }
  judge(value)
  scanView(value, (part) => inspection.open(part, place('text')))
  const valueText = { body, start: nameEnd + 1, end, place: place('text') }
  maskToFixpoint({ ...valueText, decode: decodeForm, judge }, inspection, beforeValue)
}

/** The rule by which a value is a secret, by its own name or by the field that names it. */
function ruleOf(name: string, value: string, paired: SecretRule | null): SecretRule | null {
  const own = secretRule(name) ?? memberRule(name, value)
  return [own, paired].find((rule) => rule !== null && isSecretValue(rule, value)) ?? null
}

/**
 * Behind brackets as in an object; a point joins the words of other names, too: `password.reset`.
 */
function memberRule(name: string, value: string): SecretRule | null {
  return bracketRule(name, value) ?? (looksMade(value) ? joinedRule(name, value) : null)
}

function plainView(body: Uint8Array, from: number, to: number): View {
  return { bytes: body, from, to, map: null, whole: null }
}

/**
 * The value behind pluses and percent signs: every receiver decodes them, so the digits of an
 * escape are part of nothing. A percent sign that starts no escape stays.
 */
function decodeForm(view: View): View {
  const { bytes, from, to } = view
  const decoded = new Decoded(to - from)
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number
    const high = byte === 0x25 && i + 2 < to ? (HEX[bytes[i + 1] as number] as number) : -1
    const low = high < 0 ? -1 : (HEX[bytes[i + 2] as number] as number)
    if (low < 0) {
      decoded.add(byte === 0x2b ? 0x20 : byte, originOf(view, i))
      continue
    }
    decoded.add(high * 16 + low, originOf(view, i))
    i += 2
  }
  return decoded.view(originOf(view, to), null)
}
