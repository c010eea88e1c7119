import { indexContext } from '../detectors/context.ts'
import { createMarker, type Operator } from '../detectors/operators.ts'
import { type InspectionWork, STEPS, TooManyFindings } from '../inspection-work.ts'
import type { JsonShape } from '../json/json-shape.ts'
import { DATA_CLASSES, type DataClass, type Finding } from '../redactor.ts'
import {
  type ContextIndex,
  type Found,
  inBody,
  type Scan,
  type Span,
  type View,
} from '../text/view.ts'

/** A finding with what is to be cut out for it; null where the order leaves it alone. */
export interface Hit {
  readonly finding: Finding
  readonly cuts: readonly Cut[] | null
}

const NO_HITS: readonly Hit[] = []

/** Hits up to which comparing them one by one is faster than a set. */
const comparedHitsMax = 8

/** A range to cut out of the body, and its replacement, with quotes where a number needs them. */
export interface Cut extends Span {
  readonly marker: string
}

/**
 * A body with more findings than this is not a message; it is refused instead of inspected further.
 */

export interface InspectionOptions {
  readonly body: Uint8Array
  /** Classes that are masked. */
  readonly mask: readonly string[]
  readonly operators: Readonly<Record<DataClass, Operator>>
  readonly hashKey: Uint8Array
  readonly findingsMax: number
  readonly work: InspectionWork
}

/** The location and name of a leaf; both are only worked out when something is found. */
export interface LeafPlace {
  path(): string
  /**
   * Returns the kinds of number that the field's name, or the nearest one above, implies for the
   * leaf.
   */
  fieldContext(): ContextIndex
  /**
   * In a key only a hash can stand: two keys that become one marker would become one key. A number
   * needs quotes around its marker.
   */
  readonly kind: 'key' | 'string' | 'number' | 'text'
  /**
   * The parts that may be cut out so that JSON in the text stays JSON; null if the text holds none.
   */
  shape?(): JsonShape | null
}

class LeafScan implements Scan {
  readonly view: View
  readonly #inspection: Inspection
  readonly #place: LeafPlace
  #fieldContext: ContextIndex | null = null
  #context: ContextIndex | null = null

  constructor(inspection: Inspection, view: View, place: LeafPlace) {
    this.view = view
    this.#inspection = inspection
    this.#place = place
  }

  fieldContext(): ContextIndex {
    this.#fieldContext ??= this.#place.fieldContext()
    return this.#fieldContext
  }

  context(): ContextIndex {
    if (this.#context === null) {
      this.spend(STEPS.byte * (this.view.to - this.view.from))
      this.#context = indexContext(this.view)
    }
    return this.#context
  }

  spend(steps: number): void {
    this.#inspection.work.spend(steps)
  }

  found(what: Found): void {
    this.#inspection.add(this.view, this.#place, what)
  }
}

/**
 * Collects what the detectors report in one body. Values are turned into markers at once and
 * forgotten.
 */
export class Inspection {
  readonly #options: InspectionOptions
  readonly #hits: Hit[] = []
  #seen: Set<string> | null = null
  #cuts = 0

  constructor(options: InspectionOptions) {
    this.#options = options
  }

  get work(): InspectionWork {
    return this.#options.work
  }

  get count(): number {
    return this.#hits.length
  }

  /** Returns the hits found since there were `count`, in the order of the body. */
  hitsSince(count: number): readonly Hit[] {
    if (this.#hits.length === count) return NO_HITS
    if (this.#hits.length === count + 1) return [this.#hits[count] as Hit]
    return this.#hits
      .slice(count)
      .sort((a, b) => a.finding.start - b.finding.start || b.finding.end - a.finding.end)
  }

  /** The scan for one view of the leaf at `place`. */
  open(view: View, place: LeafPlace): Scan {
    return new LeafScan(this, view, place)
  }

  add(view: View, place: LeafPlace, found: Found): void {
    const { body, mask, operators, hashKey, findingsMax } = this.#options
    const span = inBody(body, view, found)
    const { dataClass, detector } = found
    this.work.spend(STEPS.namedValue)
    if (this.#isSeen(span, dataClass)) return
    if (this.#hits.length >= findingsMax) throw new TooManyFindings()
    this.work.spend(STEPS.finding)
    this.#seen?.add(identityOf(span, dataClass))
    const chosen = place.kind === 'key' ? 'hash' : operators[dataClass]
    const operator = mask.includes(dataClass) ? chosen : 'none'
    const finding: Finding = { dataClass, detector, path: place.path(), ...span, operator }
    if (operator === 'none') {
      this.#hits.push({ finding, cuts: null })
      return
    }
    // Two names can spell one value in two ways, and must not become one name.
    const nameMarker = ({ start, end }: Span): string =>
      createMarker('hash', { dataClass, value: body.subarray(start, end), hashKey, isExact: true })
    // Nothing of a verification code is kept, however long it is written.
    const isCode = operator === 'mask' && detector === 'card-verification-code'
    const value = view.bytes.subarray(found.start, isCode ? found.start : found.end)
    const marker =
      place.kind === 'key'
        ? nameMarker(span)
        : createMarker(operator, { dataClass, value, hashKey, isExact: false })
    const quote = place.kind === 'number' ? '"' : ''
    const pieces = place.shape?.()?.pieces(span) ?? [{ ...span, quote, isName: false }]
    this.#cuts += pieces.length
    this.work.spend(STEPS.finding * (pieces.length - 1))
    if (this.#cuts > findingsMax) throw new TooManyFindings()
    const cuts = pieces.map(({ start, end, quote, isName }) => {
      const text = isName ? nameMarker({ start, end }) : marker
      return { start, end, marker: `${quote}${text}${quote}` }
    })
    this.#hits.push({ finding, cuts })
  }

  /** The same thing is seen again in every decoded form of its leaf. */
  #isSeen(span: Span, dataClass: DataClass): boolean {
    if (this.#hits.length <= comparedHitsMax) {
      return this.#hits.some(
        ({ finding }) =>
          finding.start === span.start &&
          finding.end === span.end &&
          finding.dataClass === dataClass,
      )
    }
    this.#seen ??= new Set(this.#hits.map(({ finding }) => identityOf(finding, finding.dataClass)))
    return this.#seen.has(identityOf(span, dataClass))
  }
}

function identityOf({ start, end }: Span, dataClass: DataClass): string {
  return `${start}:${end}:${dataClass}`
}

/** The more specific class names the marker where findings overlap. */
const RANK: ReadonlyMap<DataClass, number> = new Map(
  (['credential', 'card', 'iban', 'ssn', 'email', 'phone'] satisfies DataClass[]).map(
    (dataClass, rank) => [dataClass, rank],
  ),
)

/**
 * Cuts for the hits that the order masks; what overlaps becomes one cut, so nothing of either is
 * left.
 */
export function planCuts(hits: readonly Hit[]): readonly Cut[] {
  const [only] = hits
  if (hits.length === 1 && (only?.cuts?.length ?? 0) <= 1) return only?.cuts ?? []
  const wanted: (Cut & { readonly rank: number })[] = []
  for (const { finding, cuts } of hits) {
    const rank = RANK.get(finding.dataClass) ?? DATA_CLASSES.length
    for (const { start, end, marker } of cuts ?? []) wanted.push({ start, end, marker, rank })
  }
  // Parts of one finding may stand between those of another.
  wanted.sort((a, b) => a.start - b.start || b.end - a.end)
  const cuts: { start: number; end: number; marker: string; rank: number }[] = []
  for (const { start, end, marker, rank } of wanted) {
    const last = cuts.at(-1)
    if (last === undefined || start >= last.end) {
      cuts.push({ start, end, marker, rank })
      continue
    }
    last.end = Math.max(last.end, end)
    if (rank < last.rank) {
      last.rank = rank
      last.marker = marker
    }
  }
  return cuts
}
