import { latin1 } from './ascii.ts'
import { EnclosingKey } from './enclosing-key.ts'
import { isFieldValue } from './field-names.ts'
import type { Inspection, LeafPlace } from './inspection.ts'
import { type InspectionWork, STEPS } from './inspection-work.ts'
import { isPlainInteger, wholeForms } from './json-number.ts'
import { escaped, JsonShape } from './json-shape.ts'
import { JsonFault, type JsonString, nameOf, unescapeJson, viewOf } from './json-string.ts'
import { type JsonLeaf, type JsonStep, JsonWalk } from './json-walk.ts'
import { afterWhiteSpace } from './json-white-space.ts'
import { PairedNames } from './paired-names.ts'
import { scanSurveyed, scanView } from './scan-view.ts'
import { settleLeaf } from './settle.ts'
import type { Scan, View } from './view.ts'

/** JSON inside JSON is a tool's answer: flat. */
const nestedDepthMax = 32

/** Walks a JSON body and reports into `inspection`. Throws `JsonFault` for what is not strict JSON. */
export function inspectJson(body: Uint8Array, inspection: Inspection, depthMax: number): void {
  /** Names that hold a finding, with what the path says instead. */
  const concealed = new Map<number, string>()
  const names = new EnclosingKey(body)
  const walk = new JsonWalk(body, {
    depthMax,
    visit: (leaf) => {
      inspectLeaf(leaf)
    },
    close: (container, end) => {
      if (pairs.isWaiting) pairs.close(container, end)
    },
  })
  const pairs = new PairedNames(
    body,
    ({ rule, leaf }) => {
      place.kind = leaf.kind
      const view = viewOf(body, leaf)
      const { dataClass, detector } = rule
      inspection.add(view, place, { dataClass, detector, start: view.from, end: view.to })
    },
    (bytes) => inspection.work.spend(STEPS.rereadByte * bytes),
  )
  const place: LeafPlace & { kind: LeafPlace['kind'] } = {
    kind: 'string',
    path: () => pointerTo(body, walk.steps, concealed),
    fieldContext: () => names.context(walk.nearestKey),
    shape: () => (place.kind === 'string' ? shapes.of(walk.leaf) : null),
  }
  const shapes = new LeafShapes(body, inspection.work)
  const inspectLeaf = (leaf: JsonLeaf): void => {
    place.kind = leaf.kind
    inspection.work.spend(STEPS.leaf + leaf.to - leaf.from)
    const before = inspection.count
    if (leaf.kind !== 'key') inspectField(leaf)
    pairs.look(leaf, walk)
    if (leaf.quiet && !isNested(body, leaf)) return
    const open = (part: View): Scan => inspection.open(part, place)
    if (leaf.kind === 'number') {
      for (const form of numberViews(body, leaf)) scanView(form, open)
      return
    }
    const view = viewOf(body, leaf)
    // The walk has surveyed the bytes of the body; only of other bytes nothing is known yet.
    if (leaf.escaped) scanView(view, open)
    else scanSurveyed(view, leaf.seen, { open, depth: 0 })
    if (leaf.kind === 'string') inspectNested(view, place, inspection)
    if (inspection.count === before) return
    const decode = leaf.escaped ? unescapeJson : (masked: View): View => masked
    settleLeaf({ body, start: leaf.from, end: leaf.to, place, decode }, inspection, before)
    if (leaf.kind !== 'key') return
    const dataClass = inspection.hitsSince(before)[0]?.finding.dataClass ?? ''
    concealed.set(leaf.from, `[${dataClass.toUpperCase()}]`)
  }
  const inspectField = (leaf: JsonLeaf): void => {
    const key = walk.nearestKey
    if (key === null || leaf.to === leaf.from) return
    const rule = names.rule(key)
    if (rule === null) return
    inspection.work.spend(STEPS.namedValue + STEPS.byte * (leaf.to - leaf.from))
    const view = viewOf(body, leaf)
    const value = Buffer.from(view.bytes.subarray(view.from, view.to)).toString()
    if (!isFieldValue(rule, value)) return
    const { dataClass, detector } = rule
    inspection.add(view, place, { dataClass, detector, start: view.from, end: view.to })
  }
  walk.walk()
}

/** Whether the string begins as an object or an array does, white space and its escapes aside. */
function isNested(body: Uint8Array, leaf: JsonLeaf): boolean {
  if (leaf.kind !== 'string') return false
  let at = leaf.from
  for (;;) {
    at = afterWhiteSpace(body, at, leaf.to)
    if (body[at] !== 0x5c || !WHITE_SPACE_LETTERS.has(body[at + 1])) break
    at += 2
  }
  return isOpening(body[at])
}

/** n, r, t */
const WHITE_SPACE_LETTERS: ReadonlySet<number | undefined> = new Set([0x6e, 0x72, 0x74])

const isOpening = (byte: number | undefined): boolean => byte === 0x7b || byte === 0x5b

/**
 * Tools answer with JSON inside a JSON string. Its text is searched like any other; here only its
 * fields are looked at by name. Text that is no strict JSON has no fields, and that is no fault.
 */
export function inspectNested(view: View, place: LeafPlace, inspection: Inspection): void {
  const first = view.bytes[afterWhiteSpace(view.bytes, view.from, view.to)]
  if (view.whole !== null || !isOpening(first)) return
  const text = view.bytes.subarray(view.from, view.to)
  const names = new EnclosingKey(text)
  inspection.work.spend(STEPS.byte * text.length)
  const walk = new JsonWalk(text, {
    depthMax: nestedDepthMax,
    visit: (leaf) => {
      inspection.work.spend(STEPS.leaf + leaf.to - leaf.from)
      const key = walk.nearestKey
      // A marker for a number would need quotes, which would need escapes: numbers stay.
      if (leaf.kind !== 'string' || key === null || leaf.from === leaf.to) return
      const rule = names.rule(key)
      if (rule === null || !isFieldValue(rule, nameOf(text, leaf))) return
      const { dataClass, detector } = rule
      const start = view.from + leaf.from
      inspection.add(view, place, { dataClass, detector, start, end: view.from + leaf.to })
    },
  })
  try {
    walk.walk()
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error
  }
}

/** The shape of the JSON in the string at hand, read once for all that is found in it. */
class LeafShapes {
  readonly #body: Uint8Array
  readonly #work: InspectionWork
  #from = -1
  #shape: JsonShape | null = null

  constructor(body: Uint8Array, work: InspectionWork) {
    this.#body = body
    this.#work = work
  }

  of(leaf: JsonString): JsonShape | null {
    if (this.#from !== leaf.from) {
      this.#from = leaf.from
      this.#shape = JsonShape.of(viewOf(this.#body, leaf), escaped('"'), this.#work)
    }
    return this.#shape
  }
}

/** No receiver makes another number of a whole one that is exact as a double. */
const exactDigitsMax = 15

/**
 * A number is replaced whole, because half a number is another one. Looked at are all whole parts that
 * a receiver makes of it.
 */
function numberViews(body: Uint8Array, { from, to }: JsonLeaf): readonly View[] {
  const whole = { start: from, end: to }
  if (isPlainInteger(body, from, to) && to - from <= exactDigitsMax) {
    return [{ bytes: body, from, to, map: null, whole }]
  }
  return wholeForms(latin1(body, from, to)).map((form) => {
    const bytes = new TextEncoder().encode(form)
    return { bytes, from: 0, to: bytes.length, map: null, whole }
  })
}

/** A path is kept with every finding, and names are as long as their sender likes. */
const pathLengthMax = 256
const pathNameBytesMax = 64

/**
 * RFC 6901, section 3. A name that holds something sensitive appears as its class, a long one as its
 * length, and a long path without its end.
 */
function pointerTo(
  body: Uint8Array,
  steps: readonly JsonStep[],
  concealed: ReadonlyMap<number, string>,
): string {
  let path = ''
  for (const step of steps) {
    if (path.length > pathLengthMax) return `${path}/…`
    if (!step.isObject) path += `/${step.index}`
    else if (step.key !== null) {
      const name = concealed.get(step.key.from) ?? shortName(body, step.key)
      path += `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    }
  }
  return path
}

function shortName(body: Uint8Array, key: JsonString): string {
  const length = key.to - key.from
  return length > pathNameBytesMax ? `[${length} bytes]` : nameOf(body, key)
}
