import { isAssignableName } from '@countersign/protocol'
import { nearest } from '../lib/nearest.ts'
import {
  asExpression,
  type CedarExpression,
  type CedarPolicy,
  expressionIn,
  operatorOf,
} from './cedar-json.ts'
import { canBe, patternOf, quote, textOf } from './domains.ts'
import {
  elementsOfSet,
  excerptOf,
  type Facts,
  literalOf,
  partOf,
  quoteOf,
  valuesOf,
} from './facts.ts'
import { type Lint, partsOf } from './lint.ts'
import { narrow } from './narrow.ts'

/**
 * Comparisons that come out the same for every request of the policy's scope, wherever they stand.
 * In an `unless`, such a one makes a permit too wide without making it impossible.
 */
export function* valueLints(policy: CedarPolicy, worlds: readonly Facts[]): Iterable<Lint> {
  const tests = policy.conditions.flatMap(({ body }) => comparisonsIn(body))
  for (const test of tests) yield* lintsOf(test, worlds)
}

const orders: ReadonlySet<string> = new Set(['<', '<=', '>', '>='])
const others: ReadonlySet<string> = new Set([
  ...['==', '!=', 'in', 'is', 'like', 'contains', 'containsAny', 'containsAll'],
])

export function isComparison(expression: CedarExpression): boolean {
  const [name] = operatorOf(expression)
  return orders.has(name) || others.has(name)
}

function comparisonsIn(expression: CedarExpression): readonly CedarExpression[] {
  if (isComparison(expression)) return [expression]
  return partsOf(operatorOf(expression)[1]).flatMap(comparisonsIn)
}

function* lintsOf(test: CedarExpression, worlds: readonly Facts[]): Iterable<Lint> {
  const [name, body] = operatorOf(test)
  let hasElements = false
  for (const lint of elementLints(test, worlds)) {
    hasElements = true
    yield lint
  }
  if (hasElements) return
  // `!=` asks whether the two are equal; the mistake is that they never are.
  const asked = name === '!=' ? { '==': body } : test
  if (worlds.every((facts) => narrow(facts, asked, true) === null)) {
    yield deadLint(asked, worlds)
    return
  }
  const isConstant =
    orders.has(name) && worlds.every((facts) => narrow(facts, test, false) === null)
  if (!isConstant) return
  yield {
    message: `every request meets ${quoteOf(test)}`,
    help: 'compare with a value that differs between requests; docs/policy.md lists them',
  }
}

/**
 * Of `[a, b].contains(part)`, each element by itself: one that is misspelt hides among the others.
 */
function* elementLints(test: CedarExpression, worlds: readonly Facts[]): Iterable<Lint> {
  const [name, body] = operatorOf(test)
  if (!name.startsWith('contains')) return
  const [set, asked] = [expressionIn(body, 'left'), expressionIn(body, 'right')]
  const elements = elementsOfSet(set)
  const parts = (elementsOfSet(asked) ?? [asked]).map(partOf)
  const [part] = parts
  if (elements === null || parts.length !== 1 || part === null || part === undefined) return
  for (const element of elements) {
    const literal = literalOf(element)
    if (literal === null || textOf(literal) === null) continue
    worlds[0]?.work.spend(worlds.length)
    const isPossible = worlds.some((facts) => canBe(valuesOf(facts, part), literal))
    if (!isPossible) yield textLint(part, literal, worlds)
  }
}

function deadLint(test: CedarExpression, worlds: readonly Facts[]): Lint {
  const [name, body] = operatorOf(test)
  if (name === 'like') {
    const part = partOf(expressionIn(body, 'left'))
    const text = patternOf(asExpression(body)['pattern']).pieces.join('*')
    if (part !== null) return textLint(part, quote(text), worlds, quoteOf(test))
  }
  if (name === '==') {
    const sides = [expressionIn(body, 'left'), expressionIn(body, 'right')]
    const literal = sides.map(literalOf).find((each) => each !== null)
    const part = sides.map(partOf).find((each) => each !== null)
    if (
      literal !== undefined &&
      part !== undefined &&
      part !== null &&
      textOf(literal ?? '') !== null
    ) {
      return textLint(part, literal ?? '', worlds, quoteOf(test))
    }
  }
  return {
    message: `no request meets ${quoteOf(test)}`,
    help: 'docs/policy.md lists what a policy can see',
  }
}

/** A text that the part never holds, with what it can hold and what was probably meant. */
function textLint(part: string, literal: string, worlds: readonly Facts[], test?: string): Lint {
  const known = possibleTexts(part, worlds)
  const text = textOf(literal) ?? ''
  worlds[0]?.work.spend(known.length * Math.min(text.length, 64))
  const near = nearest(text, known)
  const meant = near === null ? '' : `; did you mean ${quote(near)}?`
  const message = namingOf(part, text, test ?? excerptOf(`${part} == ${literal}`), worlds)
  return { message, help: `${valuesHelp(part, known, worlds)}${meant}` }
}

const names: ReadonlySet<string> = new Set([
  ...['principal.name', 'resource.name', 'context.taskOwner', 'context.user'],
])

function namingOf(part: string, text: string, test: string, worlds: readonly Facts[]): string {
  if (part === 'context.operation') return `no operation is called ${excerptOf(quote(text))}`
  const isOpen = worlds.some((facts) => valuesOf(facts, part).only === null)
  if (names.has(part) && isOpen && !isAssignableName(text)) {
    return `nothing can be called ${excerptOf(quote(text))}`
  }
  return `no request meets ${test}`
}

function possibleTexts(part: string, worlds: readonly Facts[]): readonly string[] {
  const found = worlds.flatMap((facts) => {
    const { only, families } = valuesOf(facts, part)
    facts.work.spend((only?.size ?? 0) + families.length)
    return [...[...(only ?? [])].map(textOf).filter((text) => text !== null), ...families]
  })
  return [...new Set(found)]
}

/** As many values as a sentence takes. */
const listedMax = 8

function valuesHelp(part: string, known: readonly string[], worlds: readonly Facts[]): string {
  if (names.has(part) && worlds.some((facts) => valuesOf(facts, part).only === null)) {
    return 'names have 1 to 63 lower-case letters, digits, dots, dashes and underscores'
  }
  if (known.length === 0 || known.length > listedMax) {
    return `${part} is spelt as in docs/policy.md, in capitals and small letters`
  }
  return known.length === 1 && known[0] === ''
    ? `${part} is empty for these actions`
    : `${part} is one of ${known.map(quote).join(', ')} for these actions`
}
