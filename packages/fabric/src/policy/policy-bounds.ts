import { PolicyUnsupported } from './cedar-json.ts'

/**
 * The parser's stack is small and not guarded: past about 150 brackets in one another, or some
 * hundred operators in a row, it writes over its own memory. Both limits keep well below that, and
 * above what a person can still read.
 */
export const bracketDepthMax = 32
export const operatorsMax = 300

/**
 * A string that nothing ends is read to the end of the text, and not again from each of its quotes.
 */
const tokens = /"(?:[^"\\]|\\[^])*\\?("?)|\/\/[^\n]*|[([{]|[)\]}]|&&|\|\||[-+*.]|\bif\b/g

/** Throws `PolicyUnsupported` for a policy that must not even be given to the parser. */
export function assertReadable(text: string): void {
  let depth = 0
  let operators = 0
  for (const [token, closing] of text.matchAll(tokens)) {
    if (closing === '') throw new PolicyUnsupported('a string has no closing quote')
    if (token.length > 2 || token.startsWith('"') || token.startsWith('//')) continue
    if ('([{'.includes(token)) depth++
    else if (')]}'.includes(token)) depth--
    else operators++
    if (depth > bracketDepthMax) {
      throw new PolicyUnsupported(
        `more than ${bracketDepthMax} brackets stand in one another; split the policy`,
      )
    }
  }
  if (operators > operatorsMax) {
    throw new PolicyUnsupported(
      `the policy has ${operators} operators and accesses, more than ${operatorsMax}; split it, or ask a list: ["a", "b"].contains(…)`,
    )
  }
}
