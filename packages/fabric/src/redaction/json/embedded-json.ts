import { STEPS } from '../inspection-work.ts'
import type { Scan, View } from '../text/view.ts'
import { JsonFault, unescapeJson } from './json-string.ts'
import { JsonWalk } from './json-walk.ts'
import { SecretMembers } from './secret-members.ts'

/** A tool's answer is flat; what is nested more deeply is read from there on as another text. */
const nestedDepthMax = 64

/** Receives the text of each string that was written with escapes: another layer may be in it. */
export type VisitLayer = (text: View) => void

/**
 * Finds secrets by their names in every JSON text that is part of the scan's text: tools answer
 * with JSON inside a string, with a word before it, one object on each line, or between Markdown
 * fences.
 *
 * Text that is not JSON is not a fault here. Reading goes on where it stopped, so that each byte is
 * read once, and what was complete by then has been found.
 */
export function scanEmbeddedJson(scan: Scan, visit: VisitLayer): void {
  const { bytes, from, to } = scan.view
  for (let at = nextStart(bytes, from, to, true); at >= 0; ) {
    const stopped = readJson(scan, at, visit)
    if (stopped < 0) return
    at = nextStart(bytes, Math.max(stopped, at + 1), to, false)
  }
}

/**
 * Returns the offset where a text that may be JSON begins; a string only at the very start, as JSON
 * inside JSON twice.
 */
function nextStart(bytes: Uint8Array, from: number, to: number, isFirst: boolean): number {
  let i = from
  while (isFirst && i < to && (bytes[i] as number) <= 0x20) i++
  if (isFirst && bytes[i] === 0x22 && i < to) return i
  while (i < to && !mayBegin(bytes, i)) i++
  return i < to ? i : -1
}

/**
 * Reports whether there is a bracket here, followed by bytes that can be in it: most brackets of
 * other text fail at once.
 */
function mayBegin(bytes: Uint8Array, at: number): boolean {
  const bracket = bytes[at]
  if (bracket !== 0x7b && bracket !== 0x5b) return false
  const next = bytes[at + 1] as number
  if (next <= 0x20 || next === 0x22) return true
  return bracket === 0x5b && VALUE_STARTS.has(next)
}

/** Of a value, or the end of an empty list: `{`, `[`, `]`, `-`, digits, t, f, n. */
const VALUE_STARTS: ReadonlySet<number> = new Set(Buffer.from('{[]-0123456789tfn'))

/** Returns the offset where reading stopped, or -1 at the end. */
function readJson(scan: Scan, at: number, visit: VisitLayer): number {
  const { view } = scan
  const text = view.bytes.subarray(at, view.to)
  scan.spend(STEPS.embeddedJson)
  const members = new SecretMembers(
    text,
    ({ rule, leaf }) => {
      const { dataClass, detector } = rule
      scan.found({ dataClass, detector, start: at + leaf.from, end: at + leaf.to })
    },
    scan,
  )
  const walk = new JsonWalk(text, {
    depthMax: nestedDepthMax,
    enter: () => {
      members.enter(walk)
    },
    visit: (leaf) => {
      scan.spend(STEPS.leaf)
      if (leaf.kind === 'key') return
      members.look(leaf, walk)
      if (leaf.kind === 'string' && leaf.escaped && !leaf.quiet) {
        visit(unescapeJson({ ...view, from: at + leaf.from, to: at + leaf.to }))
      }
    },
    close: (container, end) => {
      members.close(container, end)
    },
  })
  try {
    walk.walk()
    return -1
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error
    return at + error.at
  }
}
