import { latin1 } from './ascii.ts'
import { findFieldRule, isFieldValue, mayNameSecret } from './field-names.ts'
import type { Inspection, LeafPlace } from './inspection.ts'
import { isPlainInteger } from './json-number.ts'
import { nameOf, unescapeJson, viewOf } from './json-string.ts'
import { type JsonLeaf, type JsonStep, JsonWalk } from './json-walk.ts'
import { scanSurveyed, scanView } from './scan-view.ts'
import { settleLeaf } from './settle.ts'
import type { Scan, View } from './view.ts'

/** Walks a JSON body and reports into `inspection`. Throws `JsonFault` for what is not strict JSON. */
export function inspectJson(body: Uint8Array, inspection: Inspection, depthMax: number): void {
  /** Names that hold a finding, with what the path says instead. */
  const concealed = new Map<number, string>()
  const walk = new JsonWalk(body, {
    depthMax,
    visit: (leaf) => {
      inspectLeaf(leaf)
    },
  })
  const place: LeafPlace & { kind: LeafPlace['kind'] } = {
    kind: 'string',
    path: () => pointerTo(body, walk.steps, concealed),
    fieldName: () => {
      const key = walk.nearestKey
      return key === null ? null : viewOf(body, key)
    },
  }
  const inspectLeaf = (leaf: JsonLeaf): void => {
    place.kind = leaf.kind
    const before = inspection.count
    if (leaf.kind !== 'key') inspectField(leaf)
    if (leaf.quiet) return
    const view = leaf.kind === 'number' ? numberView(body, leaf) : viewOf(body, leaf)
    const open = (part: View): Scan => inspection.open(part, place)
    // The walk has surveyed the bytes of the body; only of other bytes nothing is known yet.
    if (leaf.kind === 'number' || leaf.escaped) scanView(view, open)
    else scanSurveyed(view, leaf.seen, { open, depth: 0 })
    if (inspection.count === before) return
    if (leaf.kind !== 'number') {
      const decode = leaf.escaped ? unescapeJson : (masked: View): View => masked
      settleLeaf({ body, start: leaf.from, end: leaf.to, place, decode }, inspection, before)
    }
    if (leaf.kind !== 'key') return
    const dataClass = inspection.hitsSince(before)[0]?.finding.dataClass ?? ''
    concealed.set(leaf.from, `[${dataClass.toUpperCase()}]`)
  }
  const inspectField = (leaf: JsonLeaf): void => {
    const key = walk.nearestKey
    if (key === null || leaf.to === leaf.from) return
    if (!key.escaped && !mayNameSecret(body, key.from, key.to)) return
    const rule = findFieldRule(nameOf(body, key))
    if (rule === null) return
    const view = viewOf(body, leaf)
    const value = Buffer.from(view.bytes.subarray(view.from, view.to)).toString()
    if (!isFieldValue(rule, value)) return
    const { dataClass, detector } = rule
    inspection.add(view, place, { dataClass, detector, start: view.from, end: view.to })
  }
  walk.walk()
}

/**
 * A number is replaced whole, because half a number is another one. Where it is written with an
 * exponent or a fraction of zero, its digits are written out, as the receiver will read them.
 */
function numberView(body: Uint8Array, leaf: JsonLeaf): View {
  const whole = { start: leaf.from, end: leaf.to }
  const value = isPlainInteger(body, leaf.from, leaf.to)
    ? Number.NaN
    : Number(latin1(body, leaf.from, leaf.to))
  if (!Number.isSafeInteger(value)) {
    return { bytes: body, from: leaf.from, to: leaf.to, map: null, whole }
  }
  const bytes = new TextEncoder().encode(String(value))
  return { bytes, from: 0, to: bytes.length, map: null, whole }
}

/** RFC 6901, section 3. A name that holds something sensitive appears as its class. */
function pointerTo(
  body: Uint8Array,
  steps: readonly JsonStep[],
  concealed: ReadonlyMap<number, string>,
): string {
  let path = ''
  for (const step of steps) {
    if (!step.isObject) path += `/${step.index}`
    else if (step.key !== null) {
      const name = concealed.get(step.key.from) ?? nameOf(body, step.key)
      path += `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    }
  }
  return path
}
