import type { DataClass } from '../redactor.ts'

/** A half-open range of bytes. */
export interface Span {
  readonly start: number
  readonly end: number
}

/**
 * Text to be searched: a range of the body itself, or a decoded form of one.
 *
 * Detectors speak in offsets of `bytes`; `inBody` turns them into offsets of the body, so that what
 * was hidden behind an encoding is cut out of the original together with its encoding.
 */
export interface View {
  readonly bytes: Uint8Array
  readonly from: number
  readonly to: number
  /** Offset in the body of every byte, and of the end; null where `bytes` is the body. */
  readonly map: Int32Array | null
  /** Range in the body of the whole encoded token, if only the whole can be cut out. */
  readonly whole: Span | null
}

/** A finding of a detector, in offsets of the view that it was given. */
export interface Found extends Span {
  readonly dataClass: DataClass
  readonly detector: string
}

/** Kinds of numbers that a nearby word distinguishes. */
export type ContextKind = 'card' | 'ssn' | 'phone'

/** Offsets at which context words end in a view, ascending, by the kind of number they name. */
export type ContextIndex = Readonly<Record<ContextKind, readonly number[]>>

/** One leaf under inspection: what the detectors may look at, and where they report. */
export interface Scan {
  readonly view: View
  /**
   * Returns the kind of value that the field's name (or the nearest name above an array) implies.
   */
  fieldContext(): ContextIndex
  /** Returns the positions in the view of the words that identify a bare number. */
  context(): ContextIndex
  /**
   * Accounts for work in steps of `STEPS`; throws `TooMuchWork` where the inspection has none left.
   */
  spend(steps: number): void
  found(what: Found): void
}

/**
 * The range of the body that `found` covers. It is widened to whole UTF-8 sequences: a cut inside
 * one would make the rest of the body unreadable.
 */
export function inBody(body: Uint8Array, view: View, found: Span): Span {
  if (view.whole !== null) return view.whole
  let start = view.map === null ? found.start : (view.map[found.start] as number)
  let end = view.map === null ? found.end : (view.map[found.end] as number)
  while (start > 0 && isContinuation(body[start])) start--
  while (end < body.length && isContinuation(body[end])) end++
  return { start, end }
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}
