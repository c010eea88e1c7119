import type { Run, Test } from './closure.ts'
import { EvaluationError } from './evaluation-error.ts'
import { type ExtensionValue, isExtension } from './extension-values.ts'
import type { Long } from './long.ts'
import { CedarSet, EntityValue, typeOfValue, type Value } from './values.ts'

function typeError(expected: string, value: Value): EvaluationError {
  return new EvaluationError(`type error: expected ${expected}, got ${typeOfValue(value)}`)
}

export function isLong(value: Value): value is Long {
  return typeof value === 'number' || typeof value === 'bigint'
}

export function expectBoolean(value: Value): boolean {
  if (typeof value !== 'boolean') throw typeError('bool', value)
  return value
}

/** The test that `run` is when it gives a flag. */
export function expectTest(run: Run): Test {
  return (frame) => {
    const value = run(frame)
    return typeof value === 'boolean' ? value : expectBoolean(value)
  }
}

export function expectLong(value: Value): Long {
  if (!isLong(value)) throw typeError('long', value)
  return value
}

export function expectText(value: Value): string {
  if (typeof value !== 'string') throw typeError('string', value)
  return value
}

export function expectEntity(value: Value): EntityValue {
  if (!(value instanceof EntityValue)) throw typeError('(entity of type)', value)
  return value
}

export function expectSet(value: Value): CedarSet {
  if (!(value instanceof CedarSet)) throw typeError('set', value)
  return value
}

type Extension<Name extends string> = Extract<ExtensionValue, { readonly extension: Name }>

/** The value of the named extension type, narrowed. */
export function expectExtension<Name extends ExtensionValue['extension']>(
  value: Value,
  name: Name,
): Extension<Name> {
  if (!isExtension(value) || !isOf(value, name)) throw typeError(name, value)
  return value
}

function isOf<Name extends ExtensionValue['extension']>(
  value: ExtensionValue,
  name: Name,
): value is Extension<Name> {
  return value.extension === name
}

/** Returns the operands of `<`: two longs, two datetimes or two durations. */
export function comparePair(left: Value, right: Value): readonly [Long, Long] {
  if (isLong(left)) return [left, expectLong(right)]
  if (isExtension(left) && (left.extension === 'datetime' || left.extension === 'duration')) {
    return [left.ms, expectExtension(right, left.extension).ms]
  }
  throw typeError('long, datetime or duration', left)
}
