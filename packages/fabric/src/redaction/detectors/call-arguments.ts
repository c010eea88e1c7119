import { latin1 } from '../text/ascii.ts'
import type { Span, View } from '../text/view.ts'

const beforeBytesMax = 96
/** The call or list that the literal with the name stands in, and the arguments before it. */
const opened = /([\w.:$>!-]{0,40}\w)\s*\(\s*(?:[^()[\]{}\n]{0,64}[,\s]\s*)?(?:\\*["'`]|:)$/
const lisp = /\(\s*([\w!*-]{2,40})[ \t]+\\*"$/
const first = /(?:^|[\n(])\\*["'`]$/
/** Parts of the names of calls that take a name and its value. */
const SETTING =
  /set|put|def|add|append|insert|env|get|prop|param|header|cookie|field|option|arg|cred|pair|entry|login|auth|connect|secret|with|\bof$|register|update|store|save|write|bind|assign|config/i

export interface ArgumentPlace {
  /** True if a literal after the name may be its value. */
  readonly isArgument: boolean
  /** True if any literal after the name is the value: `setenv("PASSWORD", "…")`. */
  readonly isSet: boolean
}

/**
 * Returns the position of a name in a literal among the arguments of a call, or the elements of a
 * list.
 */
export function argumentPlace({ bytes, from }: View, name: Span): ArgumentPlace {
  const sign = bytes[name.start - 1]
  const isLiteral = sign === 0x22 || sign === 0x27 || sign === 0x60
  if (name.start <= from || !isLiteral) return { isArgument: false, isSet: false }
  const before = latin1(bytes, Math.max(from, name.start - beforeBytesMax), name.start)
  const call = lisp.exec(before)?.[1] ?? opened.exec(before)?.[1]
  const isSet = call !== undefined && SETTING.test(call)
  return { isArgument: call !== undefined || first.test(before), isSet }
}

/** Stands between a name and its value in a call: another argument, or the value's own name. */
const between = /^(?:(?:null|none|nil|undefined|\d{1,4})\s*,\s*)?(?:\w{1,32}\s*=\s*)?/i
const betweenBytesMax = 64

export function argumentStart({ bytes, to }: View, at: number): number {
  return at + (between.exec(latin1(bytes, at, Math.min(to, at + betweenBytesMax)))?.[0].length ?? 0)
}

const next = /^\\*["'`]\)?\s*,\s*(?=\\*["'`])/

/** Returns the start of the literal that follows the one ending at `end`; -1 if none does. */
export function nextArgument({ bytes, to }: View, end: number): number {
  const found = next.exec(latin1(bytes, end, Math.min(to, end + betweenBytesMax)))
  return found === null ? -1 : end + found[0].length
}
