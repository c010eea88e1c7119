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
import type { Compiler, Run } from './closure.ts'
import { compileExtension } from './compile-extension.ts'
import { compileTestOperator, fieldOf } from './compile-test.ts'
import { expectEntity, expectLong, expectTest, expectText } from './expect-value.ts'
import { CONTEXT_FIELDS, tagOf } from './frame.ts'
import { addLongs, type Long, multiplyLongs, subtractLongs } from './long.ts'
import { CedarRecord, CedarSet, EntityValue, type Value } from './values.ts'

/** Deeper than any policy a person writes; keeps a hostile one from exhausting the stack. */
export const expressionDepthMax = 500

/**
 * Creates a compiler that throws `PolicyUnsupported` for policies that this fabric does not accept.
 */
export function createCompiler(): Compiler {
  let depth = 0
  function nested<Closure>(compile: () => Closure): Closure {
    if (++depth > expressionDepthMax) {
      throw new PolicyUnsupported(
        `the expression is nested deeper than ${expressionDepthMax} levels; split the policy`,
      )
    }
    const closure = compile()
    depth--
    return closure
  }
  const compiler: Compiler = {
    value: (expression) =>
      nested(() => compileTestOperator(expression, compiler) ?? compileValue(expression, compiler)),
    test: (expression) =>
      nested(
        () =>
          compileTestOperator(expression, compiler) ??
          expectTest(compileValue(expression, compiler)),
      ),
  }
  return compiler
}

type Operator = (body: unknown, compiler: Compiler) => Run

/** Every operator that may give something else than a flag. */
const operators: Readonly<Record<string, Operator>> = {
  Value: (body) => {
    const value = parseLiteral(body)
    return () => value
  },
  Var: compileVariable,
  '.': compileAccess,
  getTag: (body, compiler) => {
    const left = compiler.value(expressionIn(body, 'left'))
    const right = compiler.value(expressionIn(body, 'right'))
    return (frame) => tagOf(frame, expectEntity(left(frame)), expectText(right(frame)))
  },
  neg: (body, compiler) => {
    const arg = compiler.value(expressionIn(body, 'arg'))
    return (frame) => subtractLongs(0, expectLong(arg(frame)))
  },
  '+': arithmetic(addLongs),
  '-': arithmetic(subtractLongs),
  '*': arithmetic(multiplyLongs),
  'if-then-else': (body, compiler) => {
    const condition = compiler.test(expressionIn(body, 'if'))
    const yes = compiler.value(expressionIn(body, 'then'))
    const no = compiler.value(expressionIn(body, 'else'))
    return (frame) => (condition(frame) ? yes(frame) : no(frame))
  },
  Set: compileSet,
  Record: (body, compiler) => {
    const fields = Object.entries(asExpression(body)).map(
      ([name, field]) => [name, compiler.value(asExpression(field))] as const,
    )
    return (frame) => new CedarRecord(new Map(fields.map(([name, run]) => [name, run(frame)])))
  },
  Slot: () => {
    throw new PolicyUnsupported('policy templates are not taken; write the entity itself')
  },
}

function compileValue(expression: CedarExpression, compiler: Compiler): Run {
  const [name, body] = operatorOf(expression)
  const compile = Object.hasOwn(operators, name) ? operators[name] : undefined
  if (compile !== undefined) return compile(body, compiler)
  if (Array.isArray(body)) return compileExtension(name, body, compiler)
  throw new PolicyUnsupported(`the operator "${name}" is not known here`)
}

function arithmetic(apply: (a: Long, b: Long) => Long): Operator {
  return (body, compiler) => {
    const left = compiler.value(expressionIn(body, 'left'))
    const right = compiler.value(expressionIn(body, 'right'))
    return (frame) => {
      const a = left(frame)
      const b = right(frame)
      return apply(expectLong(a), expectLong(b))
    }
  }
}

/** A number that JSON rounded differs from what its author wrote, so it is rejected. */
export function parseLiteral(literal: unknown): Value {
  if (typeof literal === 'boolean' || typeof literal === 'string') return literal
  if (typeof literal === 'number') {
    if (Number.isSafeInteger(literal)) return literal
    throw new PolicyUnsupported(
      `whole numbers beyond ${Number.MAX_SAFE_INTEGER} are not taken; compute larger ones with *`,
    )
  }
  const uid = findEntityUid(literal)
  if (uid === null) throw new PolicyUnsupported('a literal of this kind is not known here')
  return new EntityValue(uid.type, uid.id)
}

function compileVariable(name: unknown): Run {
  switch (name) {
    case 'principal':
      return (frame) => frame.principal
    case 'resource':
      return (frame) => frame.resource
    case 'action':
      return (frame) => frame.action
    case 'context':
      return (frame) => frame.context
    default:
      throw new PolicyUnsupported(`the variable ${JSON.stringify(name)} is not known here`)
  }
}

/**
 * `context.x` reads the request directly; the whole context becomes a record only when asked for.
 */
function compileAccess(body: unknown, compiler: Compiler): Run {
  const left = expressionIn(body, 'left')
  const name = textIn(body, 'attr')
  const direct = left['Var'] === 'context' ? CONTEXT_FIELDS.get(name) : undefined
  if (direct !== undefined) return direct
  const value = compiler.value(left)
  return (frame) => fieldOf(frame, value(frame), name)
}

function compileSet(body: unknown, compiler: Compiler): Run {
  const elements = asList(body).map(asExpression)
  if (elements.every((element) => Object.hasOwn(element, 'Value'))) {
    const set = new CedarSet(elements.map((element) => parseLiteral(element['Value'])))
    return () => set
  }
  const runs = elements.map((element) => compiler.value(element))
  return (frame) => new CedarSet(runs.map((run) => run(frame)))
}
