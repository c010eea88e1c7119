import type { Limit } from '@countersign/protocol'

/**
 * Thrown where an inspection has cost more than it may. Nothing of what was found so far counts.
 */
export class TooMuchWork extends Error {}

/**
 * Thrown when a body has more findings, or is read again more often, than `inspect.findings`
 * allows.
 */
export class TooManyFindings extends Error {}

/**
 * Maximum cost of one inspection: some nine seconds at worst, below what `work.bodyMs` gives a job.
 * Documents of 4 MiB in Markdown, program text or JSON take a third to five sixths of it.
 */
export const inspectionStepsMax = 600_000_000

export function stepsLimit(value: number): Limit {
  return { name: 'inspect.steps', value, unit: 'count' }
}

/**
 * Costs of the parts of an inspection, in steps; a step is ten to fifteen nanoseconds of a recent
 * machine. The weights are those of the worst input of each part, as `npm run bench` measures them,
 * so that a sum of steps bounds the time for any input.
 */
export const STEPS = {
  /** A byte that the prefilter and the detectors of numbers read. */
  byte: 1,
  /** A digit, which the detectors of numbers read some times more. */
  digit: 1,
  /** A group of digits with which a number may begin. */
  digitGroup: 7,
  /** A digit that is read once more, because a card number may begin before it. */
  cardDigit: 2,
  /** A candidate for an IBAN: a country's letters before digits, read twice. */
  iban: 120,
  /**
   * A row of digits with a check digit of a card: how it is written, and what stands next to it.
   */
  cardCandidate: 400,
  /** A byte whose look-alikes are folded into another view. */
  foldedByte: 1,
  /** A byte whose escapes are undone in another view. */
  unescapedByte: 2,
  /** A byte of JSON, of a form or of base64 that is decoded into another view. */
  decodedByte: 4,
  /** A byte of a text of which the shape of its JSON is read. */
  shapeByte: 1,
  /** A byte that is copied with what is masked, to be searched once more. */
  maskedByte: 1,
  /** A keyword of a credential or an address, with the bounded number of bytes around it. */
  keyword: 40,
  /** A stem of a secret's name: names and values are judged by patterns. */
  secretStem: 500,
  /** A value that may be a name written with escapes: it is decoded in each way that it reads. */
  escapedName: 500,
  /** A byte of a value, a tag or a name that is read because of a name next to it. */
  valueByte: 2,
  /** A byte of a list behind a name, which is taken apart. */
  listedByte: 12,
  /** A place at which another name and its operator may begin. */
  pairStart: 40,
  /** A bracket at which a JSON text may begin, and what reads it. */
  embeddedJson: 300,
  /** A value that is judged because of the name above or before it. */
  namedValue: 100,
  /** A key, string or number of JSON. */
  leaf: 50,
  /** A byte of a container that is read once more, because it holds the name of a secret. */
  rereadByte: 10,
  /** A pair of a form. */
  pair: 200,
  /** A finding: its marker, and its place in what is looked at again. */
  finding: 600,
} as const

/** Counts the steps of one inspection, and ends it where they are used up. */
export class InspectionWork {
  readonly #stepsMax: number
  #spent = 0

  constructor(stepsMax: number) {
    this.#stepsMax = stepsMax
  }

  get spent(): number {
    return this.#spent
  }

  spend(steps: number): void {
    this.#spent += steps
    if (this.#spent > this.#stepsMax) throw new TooMuchWork()
  }
}
