import { quotedUnlessWord } from '@countersign/protocol'
import {
  asExpression,
  asList,
  type CedarExpression,
  type CedarPolicy,
  expressionIn,
  operatorOf,
} from './cedar-json.ts'
import type { Test } from './closure.ts'
import { createCompiler } from './compile-expression.ts'
import {
  type Conjunct,
  compileActionScope,
  compileConjunct,
  compileSubjectScope,
  conjunctsOf,
} from './compile-policy.ts'
import { EvaluationError } from './evaluation-error.ts'
import { formatExpression, formatScope, formatValue } from './format-expression.ts'
import { Frame, formatEntity } from './frame.ts'
import type { PolicyRequest } from './policy.ts'
import { ENTITY_TYPES } from './schema.ts'
import type { Subject } from './values.ts'

/** One thing that a policy asks of a request, and whether this request meets it. */
export interface Requirement {
  readonly part: 'principal' | 'action' | 'resource' | 'condition'
  /** In Cedar's spelling, with `!( … )` around what must be false. */
  readonly cedar: string
  readonly met: boolean
  /** One sentence: what would have to be true, and what is instead. */
  readonly says: string
}

/** Everything that `policy` asks, scope first, each part judged on its own. */
export function requirementsOf(
  policy: CedarPolicy,
  request: PolicyRequest,
): readonly Requirement[] {
  const frame = new Frame(request)
  return [
    ...scopeRequirements(policy, frame),
    ...conjunctsOf(policy).map((conjunct) => conditionRequirement(conjunct, frame)),
  ]
}

function scopeRequirements(policy: CedarPolicy, frame: Frame): readonly Requirement[] {
  const { request } = frame
  const parts = [
    ['principal', compileSubjectScope(policy.principal, 'principal'), describe(request.principal)],
    ['action', compileActionScope(policy.action), `it is Action::"${request.action}"`],
    ['resource', compileSubjectScope(policy.resource, 'resource'), describe(request.resource)],
  ] as const
  return parts.flatMap(([part, test, actual]) => {
    if (test === null) return []
    const cedar = formatScope(part, policy[part])
    const wanted = cedar.slice(part.length + 1).replace(/^(==|is) /, '')
    return [
      { part, cedar, met: test(frame), says: `${part} would have to be ${wanted} (${actual})` },
    ]
  })
}

function describe(subject: Subject): string {
  const named = subject.roles.map(quotedUnlessWord).join(', ')
  const roles = subject.roles.length === 0 ? 'no role' : `roles ${named}`
  const entity = formatEntity({ type: ENTITY_TYPES[subject.kind], id: subject.name })
  return `it is ${entity} with ${roles}, in segment ${quoted(subject.segment)}`
}

/** Cedar's spelling of a name has quotes, also where it is a single word. */
function quoted(name: string): string {
  const shown = quotedUnlessWord(name)
  return shown.startsWith('"') ? shown : `"${shown}"`
}

function conditionRequirement(conjunct: Conjunct, frame: Frame): Requirement {
  const text = formatExpression(conjunct.expression)
  const { met, failure } = evaluate(compileConjunct(conjunct), frame)
  const actual = failure ?? observe(conjunct.expression, frame)
  return {
    part: 'condition',
    cedar: conjunct.holds ? text : `!(${text})`,
    met,
    says: `${demand(conjunct)}${actual === '' ? '' : ` (${actual})`}`,
  }
}

function evaluate(test: Test, frame: Frame): { readonly met: boolean; readonly failure?: string } {
  try {
    return { met: test(frame) }
  } catch (error) {
    if (!(error instanceof EvaluationError)) throw error
    return { met: false, failure: `it cannot be evaluated: ${error.message}` }
  }
}

const comparisons: Readonly<Record<string, readonly [yes: string, no: string]>> = {
  '==': ['be', 'be other than'],
  '!=': ['be other than', 'be'],
  '<': ['be less than', 'be at least'],
  '<=': ['be at most', 'be more than'],
  '>': ['be more than', 'be at most'],
  '>=': ['be at least', 'be less than'],
  in: ['be in', 'stand outside'],
  contains: ['contain', 'be without'],
  hasTag: ['have the attribute', 'be without the attribute'],
}

/** The words for the operators that people write most; any other expression is quoted. */
function demand({ expression, holds }: Conjunct): string {
  const [name, body] = operatorOf(expression)
  if (name === '!') return demand({ expression: expressionIn(body, 'arg'), holds: !holds })
  const words = Object.hasOwn(comparisons, name) ? comparisons[name] : undefined
  if (words !== undefined) {
    const left = formatExpression(expressionIn(body, 'left'))
    const right = formatExpression(expressionIn(body, 'right'))
    if (name === 'contains' && left.startsWith('[')) {
      return `${right} would have to be ${holds ? 'one' : 'none'} of ${left}`
    }
    return `${left} would have to ${words[holds ? 0 : 1]} ${right}`
  }
  return `${formatExpression(expression)} would have to be ${holds}`
}

/** A person reads a few values; a long list of them explains nothing. */
const observationsMax = 6

/** Describes the request's value of each part that `expression` looks at. */
function observe(expression: CedarExpression, frame: Frame): string {
  const seen = new Map<string, string>()
  const compiler = createCompiler()
  for (const leaf of leavesOf(expression)) {
    const text = formatExpression(leaf)
    if (seen.has(text) || seen.size === observationsMax) continue
    try {
      seen.set(text, `${text} is ${formatValue(compiler.value(leaf)(frame))}`)
    } catch (error) {
      if (!(error instanceof EvaluationError)) throw error
      seen.set(text, `${text} is missing`)
    }
  }
  return [...seen.values()].join(', ')
}

/** Accesses such as `context.risk` and `principal.getTag("team")`, outermost only. */
function leavesOf(expression: CedarExpression): readonly CedarExpression[] {
  const [name, body] = operatorOf(expression)
  if (name === 'Var') return body === 'context' ? [] : [expression]
  if (name === '.' || name === 'getTag') return [expression]
  if (name === 'Value' || name === 'hasTag' || name === 'has') return []
  if (Array.isArray(body)) return asList(body).flatMap((part) => leavesOf(asExpression(part)))
  return Object.values(asExpression(body)).flatMap((part) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? leavesOf(asExpression(part))
      : [],
  )
}
