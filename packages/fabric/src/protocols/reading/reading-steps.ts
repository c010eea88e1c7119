/** Accounts for work in steps, and throws where none are left. A step is some ten nanoseconds. */
export interface Work {
  spend(steps: number): void
}

/** For text of bounded length, and where nothing is counted. */
export const freeWork: Work = { spend: () => undefined }

/**
 * Costs of finding out what a message is, in the same steps as inspection. Weights are those of the
 * worst input of each part, so that a sum of steps bounds the time for any input.
 */
export const STEPS = {
  /** A byte of a message that is parsed and read for calls, cards and ids of tasks. */
  readByte: 4,
  /** A byte of a text in which what begins a call or a card is looked for. */
  clueByte: 2,
  /** A byte of a text that has it: every word of calls or cards is followed. */
  wordByte: 7,
  /** A byte of a text of which the escapes are undone in one way of several. */
  layerByte: 4,
  /** A field of a form, or a value of JSON with the names above it. */
  field: 100,
  /** A character behind which an id may go on. */
  idCharacter: 1,
  /** A character of an id that is folded to be compared. */
  foldedCharacter: 6,
} as const
