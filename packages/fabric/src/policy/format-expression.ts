import {
  asExpression,
  asList,
  type CedarExpression,
  type CedarScope,
  expressionIn,
  findEntityUid,
  operatorOf,
  textIn,
} from './cedar-json.ts'
import { isExtensionConstructor } from './compile-extension.ts'
import { toUid } from './compile-policy.ts'
import { formatEntity } from './frame.ts'
import { formatPattern } from './like.ts'
import { CedarRecord, CedarSet, EntityValue, type Value } from './values.ts'

const infix: ReadonlySet<string> = new Set([
  '&&',
  '||',
  '==',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
  '+',
  '-',
  '*',
  'in',
])
const methods: ReadonlySet<string> = new Set([
  'contains',
  'containsAll',
  'containsAny',
  'getTag',
  'hasTag',
])
const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/

/** An expression in Cedar's spelling again. For people: line breaks and comments are gone. */
export function formatExpression(expression: CedarExpression): string {
  const [name, body] = operatorOf(expression)
  if (infix.has(name)) {
    return `${nested(expressionIn(body, 'left'))} ${name} ${nested(expressionIn(body, 'right'))}`
  }
  if (methods.has(name)) {
    return `${nested(expressionIn(body, 'left'))}.${name}(${formatExpression(expressionIn(body, 'right'))})`
  }
  const format = Object.hasOwn(formats, name) ? formats[name] : undefined
  if (format !== undefined) return format(body)
  const args = asList(body).map((arg) => asExpression(arg))
  if (isExtensionConstructor(name)) return `${name}(${args.map(formatExpression).join(', ')})`
  const [target, ...rest] = args
  return `${target === undefined ? '' : nested(target)}.${name}(${rest.map(formatExpression).join(', ')})`
}

const formats: Readonly<Record<string, (body: unknown) => string>> = {
  Value: (body) => {
    const uid = findEntityUid(body)
    return uid === null ? JSON.stringify(body) : formatEntity(uid)
  },
  Var: String,
  '!': (body) => `!${nested(expressionIn(body, 'arg'))}`,
  neg: (body) => `-${nested(expressionIn(body, 'arg'))}`,
  isEmpty: (body) => `${nested(expressionIn(body, 'arg'))}.isEmpty()`,
  '.': (body) => {
    const name = textIn(body, 'attr')
    const left = nested(expressionIn(body, 'left'))
    return identifier.test(name) ? `${left}.${name}` : `${left}[${JSON.stringify(name)}]`
  },
  has: (body) => {
    const attr = asExpression(body)['attr']
    const path = typeof attr === 'string' ? formatName(attr) : asList(attr).join('.')
    return `${nested(expressionIn(body, 'left'))} has ${path}`
  },
  like: (body) =>
    `${nested(expressionIn(body, 'left'))} like ${formatPattern(asExpression(body)['pattern'])}`,
  is: (body) => {
    const inside = asExpression(body)['in']
    const head = `${nested(expressionIn(body, 'left'))} is ${textIn(body, 'entity_type')}`
    return inside === undefined ? head : `${head} in ${nested(asExpression(inside))}`
  },
  'if-then-else': (body) =>
    `if ${formatExpression(expressionIn(body, 'if'))} then ${formatExpression(expressionIn(body, 'then'))} else ${formatExpression(expressionIn(body, 'else'))}`,
  Set: (body) =>
    `[${asList(body)
      .map((item) => formatExpression(asExpression(item)))
      .join(', ')}]`,
  Record: (body) => {
    const fields = Object.entries(asExpression(body)).map(
      ([name, field]) => `${formatName(name)}: ${formatExpression(asExpression(field))}`,
    )
    return `{ ${fields.join(', ')} }`
  },
}

/** In parentheses unless the expression binds tighter than every operator. */
function nested(expression: CedarExpression): string {
  const [name] = operatorOf(expression)
  const text = formatExpression(expression)
  const isLoose =
    infix.has(name) || ['!', 'neg', 'has', 'like', 'is', 'if-then-else'].includes(name)
  return isLoose ? `(${text})` : text
}

function formatName(name: string): string {
  return identifier.test(name) ? name : JSON.stringify(name)
}

/** One of the three parts of a policy's scope, in Cedar's spelling. */
export function formatScope(side: string, scope: CedarScope): string {
  if (scope.op === 'is') {
    const inside = scope.in?.entity
    const group = inside === undefined ? '' : ` in ${formatEntity(toUid(inside))}`
    return `${side} is ${scope.entity_type ?? ''}${group}`
  }
  if (scope.entities !== undefined) {
    return `${side} in [${scope.entities.map((uid) => formatEntity(toUid(uid))).join(', ')}]`
  }
  return scope.entity === undefined
    ? side
    : `${side} ${scope.op} ${formatEntity(toUid(scope.entity))}`
}

/** A value in Cedar's spelling, as far as people need it. */
export function formatValue(value: Value): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value !== 'object') return String(value)
  if (value instanceof EntityValue) return formatEntity(value)
  if (value instanceof CedarSet) return `[${value.items.map(formatValue).join(', ')}]`
  if (value instanceof CedarRecord) {
    const fields = [...value.fields].map(
      ([name, field]) => `${formatName(name)}: ${formatValue(field)}`,
    )
    return `{ ${fields.join(', ')} }`
  }
  if (value.extension === 'datetime') return formatInstant(Number(value.ms))
  if (value.extension === 'duration') return `${value.ms}ms`
  if (value.extension === 'decimal') return `${Number(value.scaled) / 10_000}`
  return `an ${value.extension}`
}

function formatInstant(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? `${ms}ms after 1970` : date.toISOString()
}
