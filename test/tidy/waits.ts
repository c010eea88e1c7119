import { PAUSES } from './exceptions.ts'
import { excuse } from './imports.ts'
import { isTest, type Source } from './source.ts'

/** Tests that `npm test` runs, and what they share; engines and faults have times of their own. */
const isOurs = (path: string): boolean =>
  isTest(path) ? !path.startsWith('test/engines/') : path.startsWith('test/harness/')

const pause = /new Promise(?:<\w+>)?\(\(\w+\) => setTimeout\(\w+, [\d_]+\)\)|\bsleep\([\d_]+\)/
/** Of a wait, or of a test. */
const ownTime = /\btimeout: [\d_]+|^\s*\}, [\d_]{4,}\)$/

function lines({ path, text }: Source, what: RegExp, says: string) {
  return text
    .split('\n')
    .flatMap((line, at) =>
      what.test(line) ? [{ at: path, says: `${path}:${at + 1} ${says}` }] : [],
    )
}

const count = (text: string, what: RegExp): number => [...text.matchAll(what)].length

/**
 * Nothing has happened "by now" on a machine that is slow enough: a test waits for a sign, by one
 * deadline.
 */
export function waitFaults(all: readonly Source[]): readonly string[] {
  const ours = all.filter(({ path }) => isOurs(path) && path !== 'test/harness/deadline.ts')
  const paused = ours.flatMap((source) => lines(source, pause, 'pauses for a fixed time'))
  const timed = ours.flatMap((source) => lines(source, ownTime, 'has a time of its own'))
  const impatient = ours
    .filter(({ text }) => count(text, /vi\.waitFor\(/g) > count(text, /\bdeadline,?\s*\)/g))
    .map(({ path }) => `${path} has a vi.waitFor without the deadline of test/harness`)
  return [...excuse(paused, PAUSES), ...timed.map(({ says }) => says), ...impatient]
}
