import { STEPS } from '../inspection-work.ts'
import { Decoded } from '../text/decode.ts'
import type { Span, View } from '../text/view.ts'
import { type Cut, type Inspection, type LeafPlace, planCuts } from './inspection.ts'
import { scanView } from './scan-view.ts'
import { isSettled } from './settled.ts'

/**
 * Content that still has findings after this many rounds was built to go on for ever, and is cut
 * out whole.
 */
const roundsMax = 4

export interface LeafText extends Span {
  readonly body: Uint8Array
  readonly place: LeafPlace
  /** The value behind the bytes of the leaf, where that is something else. */
  readonly decode: (view: View) => View
  /** Set if only the detectors of numbers and addresses had a reason to run. */
  readonly isPlain?: boolean
  /** Judges the value by its name, as it will be once masked: white space in it may be gone. */
  readonly judge?: (value: View) => void
}

/**
 * Looks at a leaf again as it will be once masked, until nothing more is found.
 *
 * Taking something out brings its neighbours together: the digits before an address are part of it,
 * and a number of their own once it is gone. Without this, a message that passes two fabrics would
 * leave the second one masked further than the first. `before` is how many hits there were before
 * this leaf.
 */
export function maskToFixpoint(leaf: LeafText, inspection: Inspection, before: number): void {
  let seen = before
  let made: readonly Cut[] = []
  for (let round = 0; round < roundsMax; round++) {
    const fresh = inspection.hitsSince(seen)
    if (!fresh.some((hit) => hit.cuts !== null)) return
    seen = inspection.count
    const cuts = planCuts(inspection.hitsSince(before))
    // The new findings lie in ranges that are cut out already, or in the shape of JSON.
    if (isSame(cuts, made)) return
    made = cuts
    const isSearched = leaf.isPlain === true && isSettled(leaf.body, leaf, cuts)
    if (isSearched && leaf.judge === undefined) return
    inspection.work.spend(STEPS.maskedByte * (leaf.end - leaf.start))
    const view = leaf.decode(maskedView(leaf, cuts))
    leaf.judge?.(view)
    if (!isSearched) scanView(view, (part) => inspection.open(part, leaf.place))
  }
  const [first] = inspection.hitsSince(before).filter((hit) => hit.cuts !== null)
  if (first === undefined || inspection.count === seen) return
  if (isSame(planCuts(inspection.hitsSince(before)), made)) return
  const { dataClass, detector } = first.finding
  const whole = { bytes: leaf.body, from: leaf.start, to: leaf.end, map: null, whole: null }
  const found = { dataClass, detector, start: leaf.start, end: leaf.end }
  inspection.add(whole, leaf.place, found)
}

function isSame(some: readonly Cut[], others: readonly Cut[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ start, end }, i) => start === others[i]?.start && end === others[i]?.end)
  )
}

/** Larger leaves get memory of their own. */
const scratchBytesMax = 64 * 1024
/**
 * For the leaf at hand: to allocate and to free two arrays costs as much as to search a short leaf.
 */
let scratch = new Decoded(4096)

/** Empty, and valid until the next call. */
function decodedOf(capacity: number): Decoded {
  if (capacity > scratchBytesMax) return new Decoded(capacity)
  if (capacity > scratch.capacity) scratch = new Decoded(2 * capacity)
  scratch.length = 0
  return scratch
}

/**
 * The leaf with its cuts made; every byte of a marker stands for where the cut begins. Valid until
 * the next call.
 */
function maskedView(leaf: LeafText, cuts: readonly Cut[]): View {
  const markers = cuts.reduce((sum, cut) => sum + cut.marker.length, 0)
  const masked = decodedOf(leaf.end - leaf.start + markers)
  let at = leaf.start
  for (const { start, end, marker } of cuts) {
    if (at < start) masked.addAll(leaf.body, at, start)
    for (let i = 0; i < marker.length; i++) masked.add(marker.charCodeAt(i), start)
    at = end
  }
  if (at < leaf.end) masked.addAll(leaf.body, at, leaf.end)
  return masked.view(leaf.end, null)
}
