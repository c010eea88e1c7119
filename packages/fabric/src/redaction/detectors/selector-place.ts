import { excerptOf } from '../text/ascii.ts'
import type { Span, View } from '../text/view.ts'

/** A list of selectors of CSS is read this far behind the name in it. */
const selectorBytesMax = 320
/** States and parts of an element, as whole words. */
const pseudo =
  /^:?(?:before|after|hover|focus(?:-within|-visible)?|active|visited|(?:any-)?link|target|(?:dis|en)abled|checked|selected|empty|placeholder(?:-shown)?|root|(?:in)?valid|required|optional|read-(?:only|write)|(?:first|last|only)-(?:child|of-type)|first-(?:letter|line)|nth-(?:last-)?(?:child|of-type)(?=\()|(?:not|is|where|has)(?=\()|selection|-(?:webkit|moz|ms)-[a-z-]{1,32})(?=[\s{,>+~.:#[(])/
/** The rest of a selector; another one in the next line, or the block of the rule. */
const rule = /^[^{}"'`;=\n]{0,128}(?:,[ \t]*\r?\n[ \t]*[.#:*[a-z]|\{)/
const restBytesMax = 256
/**
 * Behind the bracket of a rule: a declaration, a rule in it, a comment, its end, or the end of its
 * line.
 */
const declarations = /^\{\s*(?:$|\\[nrt]|[}&@.#]|\/\*|-{0,2}[a-z][a-z-]*\s*:|[a-z][\w-]*[^{}:;]*\{)/

/**
 * Reports whether a name that is part of a selector continues as one at `at`, after its operator:
 * `.token:hover {`, `label[for="password"]::after {`, `#password { … }`. If no sign of a selector
 * precedes the name, or no rule follows, the rest is a value.
 */
export function isSelector({ bytes, from, to }: View, name: Span, at: number): boolean {
  const isBlock = bytes[at] === 0x7b
  // A blank or another operator begins no state of an element.
  if (!isBlock && bytes[at - 1] !== 0x3a) return false
  const before = name.start > from ? bytes[name.start - 1] : 0
  const isSign = before === 0x2e || before === 0x23
  if (isBlock) return isSign && declarations.test(excerptOf(bytes, at, Math.min(to, at + 64)))
  const last = bytes[at - 2] === 0x3a ? at - 3 : at - 2
  const isBracket = bytes[last] === 0x5d && last >= name.end
  const isWord = last === name.end - 1
  if (!isBracket && !(isWord && (isSign || bytes.subarray(name.start, name.end).includes(0x2e))))
    return false
  const text = excerptOf(bytes, at, Math.min(to, at + selectorBytesMax))
  const state = pseudo.exec(text)
  if (state === null) return false
  const rest = text.slice(state[0].length, state[0].length + restBytesMax)
  const end = rule.exec(rest)?.[0]
  if (end === undefined) return false
  return !end.endsWith('{') || declarations.test(rest.slice(end.length - 1))
}
