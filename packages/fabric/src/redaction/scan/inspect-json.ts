import { isPlain as isPlainText } from '../detectors/prefilter.ts'
import { type InspectionWork, STEPS } from '../inspection-work.ts'
import { escaped, JsonShape } from '../json/json-shape.ts'
import { type JsonString, nameOf, textOf, unescapeJson, viewOf } from '../json/json-string.ts'
import { type JsonLeaf, type JsonStep, JsonWalk } from '../json/json-walk.ts'
import { SecretMembers } from '../json/secret-members.ts'
import { latin1 } from '../text/ascii.ts'
import { isPlainInteger, wholeForms } from '../text/json-number.ts'
import type { Scan, View } from '../text/view.ts'
import { maskToFixpoint } from './fixpoint.ts'
import type { Inspection, LeafPlace } from './inspection.ts'
import { scanPrefiltered, scanView } from './scan-view.ts'

/**
 * Walks a JSON body and reports into `inspection`. Throws `JsonFault` for what is not strict JSON.
 */
export function inspectJson(body: Uint8Array, inspection: Inspection, depthMax: number): void {
  /** Names that hold a finding, with their replacement in the path. */
  const concealed = new Map<number, string>()
  /** That of the leaf at hand, once something is found in it. */
  let path: string | null = null
  const walk = new JsonWalk(body, {
    depthMax,
    visit: (leaf) => {
      inspectLeaf(leaf)
    },
    enter: () => {
      members.enter(walk)
    },
    close: (container, end) => {
      members.close(container, end)
    },
  })
  const members = new SecretMembers(
    body,
    ({ rule, leaf }) => {
      place.kind = leaf.kind
      // At the end of a container the walk stands elsewhere.
      path = null
      const view = viewOf(body, leaf)
      const { dataClass, detector } = rule
      inspection.add(view, place, { dataClass, detector, start: view.from, end: view.to })
    },
    inspection.work,
  )
  const place: LeafPlace & { kind: LeafPlace['kind'] } = {
    kind: 'string',
    path: () => (path ??= pointerTo(body, walk.steps, concealed)),
    fieldContext: () => members.names.context(walk.nearestKey),
    shape: () => (place.kind === 'string' ? shapes.of(walk.leaf) : null),
  }
  const shapes = new LeafShapes(body, inspection.work)
  const inspectLeaf = (leaf: JsonLeaf): void => {
    place.kind = leaf.kind
    path = null
    inspection.work.spend(STEPS.leaf + leaf.to - leaf.from)
    const before = inspection.count
    if (leaf.kind !== 'key') members.look(leaf, walk)
    if (leaf.quiet) return
    const open = (part: View): Scan => inspection.open(part, place)
    if (leaf.kind === 'number') {
      for (const form of numberViews(body, leaf)) scanView(form, open)
      return
    }
    const view = viewOf(body, leaf)
    // The walk has surveyed the bytes of the body; only of other bytes nothing is known yet.
    if (leaf.escaped) scanView(view, open)
    else scanPrefiltered(view, leaf.seen, { open, depth: 0 })
    if (inspection.count === before) return
    const decode = leaf.escaped ? unescapeJson : (masked: View): View => masked
    const isPlain = !leaf.escaped && isPlainText(leaf.seen)
    const text = { body, start: leaf.from, end: leaf.to, place, decode, isPlain }
    const judge = (value: View): void => members.lookAgain(leaf, walk, () => textOf(value))
    const isJudged = leaf.kind !== 'key' && members.isAwake
    maskToFixpoint(isJudged ? { ...text, judge } : text, inspection, before)
    if (leaf.kind !== 'key') return
    const dataClass = inspection.hitsSince(before)[0]?.finding.dataClass ?? ''
    concealed.set(leaf.from, `[${dataClass.toUpperCase()}]`)
  }
  walk.walk()
}

const ESCAPED_QUOTE = escaped('"')

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
      this.#shape = JsonShape.of(viewOf(this.#body, leaf), ESCAPED_QUOTE, this.#work)
    }
    return this.#shape
  }
}

/** No receiver makes another number of a whole one that is exact as a double. */
const exactDigitsMax = 15

/**
 * A number is replaced whole, because half a number is another one. Looked at are all whole parts
 * that a receiver makes of it.
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
 * RFC 6901, section 3. A name that holds something sensitive appears as its class, a long one as
 * its length, and a long path without its end.
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
