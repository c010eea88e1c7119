import { parseArgs } from 'node:util'

/** Settings of one run of the bench. */
export interface Options {
  /** Groups to run, in the order of the bench; every one if none is named. */
  readonly groups: readonly string[]
  /** Length of each measured load, after the warm-up. */
  readonly seconds: number
}

const secondsDefault = 5
const secondsMax = 600

/** Throws, with a sentence for the person who typed it, on anything the bench does not know. */
export function parseOptions(args: readonly string[], known: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { seconds: { type: 'string' } },
  })
  const unknown = positionals.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    throw new Error(`no group ${unknown.join(', ')}; the groups are ${known.join(', ')}`)
  }
  const seconds = values.seconds === undefined ? secondsDefault : Number(values.seconds)
  if (!(seconds >= 1 && seconds <= secondsMax)) {
    throw new Error(`--seconds takes a number from 1 to ${secondsMax}`)
  }
  return {
    groups: known.filter((name) => positionals.length === 0 || positionals.includes(name)),
    seconds,
  }
}
