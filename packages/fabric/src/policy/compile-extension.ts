import { asExpression, asList, operatorOf, PolicyUnsupported } from './cedar-json.ts'
import type { Compiler, Run } from './closure.ts'
import { EvaluationError } from './evaluation-error.ts'
import { expectExtension, expectText } from './expect-value.ts'
import {
  durationIn,
  durationSince,
  offsetDatetime,
  parseDatetime,
  parseDecimal,
  parseDuration,
  toDate,
  toTime,
} from './extension-values.ts'
import { isInRange, isLoopback, isMulticast, parseIp } from './ip.ts'
import type { Value } from './values.ts'

/** Arguments are evaluated already; `second` is the same as `first` where there is only one. */
type ExtensionCall = (first: Value, second: Value) => Value

const decimal = (value: Value) => expectExtension(value, 'decimal').scaled
const ip = (value: Value) => expectExtension(value, 'ipaddr')
const datetime = (value: Value) => expectExtension(value, 'datetime')
const duration = (value: Value) => expectExtension(value, 'duration')

const constructors: Readonly<Record<string, (text: string) => Value>> = {
  decimal: parseDecimal,
  ip: parseIp,
  datetime: parseDatetime,
  duration: parseDuration,
}

const unary: Readonly<Record<string, ExtensionCall>> = {
  isIpv4: (value) => ip(value).bits === 32,
  isIpv6: (value) => ip(value).bits === 128,
  isLoopback: (value) => isLoopback(ip(value)),
  isMulticast: (value) => isMulticast(ip(value)),
  toDate: (value) => toDate(datetime(value)),
  toTime: (value) => toTime(datetime(value)),
  toMilliseconds: (value) => durationIn(duration(value), 1),
  toSeconds: (value) => durationIn(duration(value), 1_000),
  toMinutes: (value) => durationIn(duration(value), 60_000),
  toHours: (value) => durationIn(duration(value), 3_600_000),
  toDays: (value) => durationIn(duration(value), 86_400_000),
}

const binary: Readonly<Record<string, ExtensionCall>> = {
  lessThan: (a, b) => decimal(a) < decimal(b),
  lessThanOrEqual: (a, b) => decimal(a) <= decimal(b),
  greaterThan: (a, b) => decimal(a) > decimal(b),
  greaterThanOrEqual: (a, b) => decimal(a) >= decimal(b),
  isInRange: (a, b) => isInRange(ip(a), ip(b)),
  offset: (a, b) => offsetDatetime(datetime(a), duration(b)),
  durationSince: (a, b) => durationSince(datetime(a), datetime(b)),
}

/** Functions that read as `name(x)`; all others read as `x.name(…)`. */
export function isExtensionConstructor(name: string): boolean {
  return Object.hasOwn(constructors, name)
}

export function compileExtension(name: string, args: unknown, compiler: Compiler): Run {
  const [first, second, ...more] = asList(args).map(asExpression)
  const construct = Object.hasOwn(constructors, name) ? constructors[name] : undefined
  const one = Object.hasOwn(unary, name) ? unary[name] : undefined
  const two = Object.hasOwn(binary, name) ? binary[name] : undefined
  const call: ExtensionCall | undefined =
    construct === undefined ? (one ?? two) : (value) => construct(expectText(value))
  if (call === undefined) throw new PolicyUnsupported(`the function "${name}" is not known here`)
  const wanted = two === undefined ? 1 : 2
  if (first === undefined || more.length > 0 || (second === undefined ? 1 : 2) !== wanted) {
    throw new PolicyUnsupported(`the function "${name}" takes another number of arguments`)
  }
  if (construct !== undefined && operatorOf(first)[0] === 'Value') {
    return constant(construct, operatorOf(first)[1])
  }
  const left = compiler.value(first)
  const right = second === undefined ? left : compiler.value(second)
  if (second === undefined) {
    return (frame) => {
      const value = left(frame)
      return call(value, value)
    }
  }
  return (frame) => call(left(frame), right(frame))
}

/**
 * A literal is parsed once; one that does not parse fails the policy each time, as Cedar has it.
 */
function constant(construct: (text: string) => Value, literal: unknown): Run {
  try {
    const value = construct(expectText(literal as Value))
    return () => value
  } catch (error) {
    if (!(error instanceof EvaluationError)) throw error
    return () => {
      throw error
    }
  }
}
