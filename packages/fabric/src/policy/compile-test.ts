import {
  asExpression,
  asList,
  type CedarExpression,
  expressionIn,
  findEntityUid,
  operatorOf,
  PolicyUnsupported,
  textIn,
} from './cedar-json.ts'
import { type Compiler, everyTest, type Run, type Test } from './closure.ts'
import { EvaluationError } from './evaluation-error.ts'
import { comparePair, expectEntity, expectSet, expectText, isLong } from './expect-value.ts'
import { attributeOf, type Frame, hasAttribute, hasTag, isIn } from './frame.ts'
import { compilePattern } from './like.ts'
import type { Long } from './long.ts'
import { CedarRecord, EntityValue, equalValues, typeOfValue, type Value } from './values.ts'

type Operator = (body: unknown, compiler: Compiler) => Test

/** Every operator whose value is always a flag. */
const operators: Readonly<Record<string, Operator>> = {
  '!': (body, compiler) => {
    const test = compiler.test(expressionIn(body, 'arg'))
    return (frame) => !test(frame)
  },
  '&&': (body, compiler) => {
    return everyTest(flatten('&&', body).map((part) => compiler.test(part)))
  },
  '||': (body, compiler) => {
    const tests = flatten('||', body).map((part) => compiler.test(part))
    return (frame) => {
      for (const test of tests) if (test(frame)) return true
      return false
    }
  },
  '==': compileEquality,
  '!=': (body, compiler) => {
    const test = compileEquality(body, compiler)
    return (frame) => !test(frame)
  },
  '<': ordering((a, b) => a < b),
  '<=': ordering((a, b) => a <= b),
  '>': ordering((a, b) => a > b),
  '>=': ordering((a, b) => a >= b),
  in: compileIn,
  is: compileIs,
  has: compileHas,
  like: (body, compiler) => {
    const left = compiler.value(expressionIn(body, 'left'))
    const matches = compilePattern(asExpression(body)['pattern'])
    return (frame) => matches(expectText(left(frame)))
  },
  contains: binary((left, right) => expectSet(left).has(right)),
  containsAll: binary((left, right) => {
    const set = expectSet(left)
    return expectSet(right).items.every((item) => set.has(item))
  }),
  containsAny: binary((left, right) => {
    const set = expectSet(left)
    return expectSet(right).items.some((item) => set.has(item))
  }),
  isEmpty: (body, compiler) => {
    const set = compiler.value(expressionIn(body, 'arg'))
    return (frame) => expectSet(set(frame)).items.length === 0
  },
  hasTag: binary((entity, key, frame) => hasTag(frame, expectEntity(entity), expectText(key))),
}

/** The closure when the operator's value is always a flag, else null. */
export function compileTestOperator(expression: CedarExpression, compiler: Compiler): Test | null {
  const [name, body] = operatorOf(expression)
  const compile = Object.hasOwn(operators, name) ? operators[name] : undefined
  return compile === undefined ? null : compile(body, compiler)
}

/** The parts of `a && b && c` from left to right, however long the chain is. */
export function flatten(name: '&&' | '||', body: unknown): readonly CedarExpression[] {
  const parts: CedarExpression[] = []
  let rest: unknown = body
  for (;;) {
    parts.push(expressionIn(rest, 'right'))
    const left = expressionIn(rest, 'left')
    const [operator, inner] = operatorOf(left)
    if (operator !== name) {
      parts.push(left)
      return parts.toReversed()
    }
    rest = inner
  }
}

function binary(apply: (left: Value, right: Value, frame: Frame) => boolean): Operator {
  return (body, compiler) => {
    const left = compiler.value(expressionIn(body, 'left'))
    const right = compiler.value(expressionIn(body, 'right'))
    return (frame) => apply(left(frame), right(frame), frame)
  }
}

/** For a literal that is not an entity, equality is identity. */
function compileEquality(body: unknown, compiler: Compiler): Test {
  const [a, b] = [expressionIn(body, 'left'), expressionIn(body, 'right')]
  const left = compiler.value(a)
  const right = compiler.value(b)
  const literal = b['Value']
  if (typeof literal !== 'object' && literal !== undefined) {
    return (frame) => left(frame) === literal
  }
  return (frame) => equalValues(left(frame), right(frame))
}

function ordering(compare: (a: Long, b: Long) => boolean): Operator {
  return (body, compiler) => {
    const left = compiler.value(expressionIn(body, 'left'))
    const right = compiler.value(expressionIn(body, 'right'))
    return (frame) => {
      const a = left(frame)
      const b = right(frame)
      if (isLong(a) && isLong(b)) return compare(a, b)
      const [x, y] = comparePair(a, b)
      return compare(x, y)
    }
  }
}

function compileIn(body: unknown, compiler: Compiler): Test {
  const left = compiler.value(expressionIn(body, 'left'))
  const group = findEntityUid(expressionIn(body, 'right')['Value'])
  if (group !== null) {
    const entity = new EntityValue(group.type, group.id)
    return (frame) => isIn(frame, expectEntity(left(frame)), entity)
  }
  return inAny(left, compiler.value(expressionIn(body, 'right')))
}

/** Each element must be an entity, even behind one that matches: a mixed set is a type error. */
function inAny(left: Run, right: Run): Test {
  return (frame) => {
    const entity = expectEntity(left(frame))
    const target = right(frame)
    const groups =
      target instanceof EntityValue ? [target] : expectSet(target).items.map(expectEntity)
    return groups.some((group) => isIn(frame, entity, group))
  }
}

function compileIs(body: unknown, compiler: Compiler): Test {
  const left = compiler.value(expressionIn(body, 'left'))
  const type = textIn(body, 'entity_type')
  const inside = asExpression(body)['in']
  if (inside === undefined) return (frame) => expectEntity(left(frame)).type === type
  const isInside = inAny(left, compiler.value(asExpression(inside)))
  return (frame) => expectEntity(left(frame)).type === type && isInside(frame)
}

/** `has a.b.c` is `has a` and then the same of what `a` holds. */
function compileHas(body: unknown, compiler: Compiler): Test {
  const left = compiler.value(expressionIn(body, 'left'))
  const attr = asExpression(body)['attr']
  const path = typeof attr === 'string' ? [attr] : asList(attr).map(expectName)
  return (frame) => {
    let value = left(frame)
    for (const [i, name] of path.entries()) {
      if (!hasField(frame, value, name)) return false
      if (i < path.length - 1) value = fieldOf(frame, value, name)
    }
    return true
  }
}

function expectName(name: unknown): string {
  if (typeof name !== 'string') throw new PolicyUnsupported('an attribute name must be text')
  return name
}

function hasField(frame: Frame, value: Value, name: string): boolean {
  if (value instanceof CedarRecord) return value.fields.has(name)
  if (value instanceof EntityValue) return hasAttribute(frame, value, name)
  throw new EvaluationError(`type error: expected record or entity, got ${typeOfValue(value)}`)
}

/** Cedar's `value.name`. */
export function fieldOf(frame: Frame, value: Value, name: string): Value {
  if (value instanceof EntityValue) return attributeOf(frame, value, name)
  if (!(value instanceof CedarRecord)) {
    throw new EvaluationError(`type error: expected record or entity, got ${typeOfValue(value)}`)
  }
  const field = value.fields.get(name)
  if (field === undefined) throw new EvaluationError(`the record has no attribute "${name}"`)
  return field
}
