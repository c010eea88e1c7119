import type { CedarExpression } from './cedar-json.ts'
import type { Frame } from './frame.ts'
import type { Value } from './values.ts'

/** One compiled expression. Both kinds throw `EvaluationError` where Cedar's evaluation fails. */
export type Run = (frame: Frame) => Value
export type Test = (frame: Frame) => boolean

/** Turns expressions into closures, their parts included. Throws `PolicyUnsupported`. */
export interface Compiler {
  /** Compiles to a closure that gives any value. */
  value(expression: CedarExpression): Run
  /** Compiles to a closure that gives a flag, or fails the policy when the value is none. */
  test(expression: CedarExpression): Test
}

/**
 * Returns a test that all of `tests` hold, evaluated from left to right up to the first that does
 * not.
 */
export function everyTest(tests: readonly Test[]): Test {
  const [first, second, third] = tests
  if (first === undefined) return () => true
  if (second === undefined) return first
  if (third === undefined) return (frame) => first(frame) && second(frame)
  if (tests.length === 3) return (frame) => first(frame) && second(frame) && third(frame)
  return (frame) => {
    for (const test of tests) if (!test(frame)) return false
    return true
  }
}
