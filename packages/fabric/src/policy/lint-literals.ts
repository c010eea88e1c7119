import {
  asExpression,
  type CedarExpression,
  type CedarPolicy,
  type EntityUid,
  findEntityUid,
  operatorOf,
} from './cedar-json.ts'
import type { Conjunct } from './compile-policy.ts'
import { quote } from './domains.ts'
import { excerptOf, type Facts, onlyValueOf, quoteOf } from './facts.ts'
import { formatEntity } from './frame.ts'
import { type Lint, partsOf } from './lint.ts'
import { typeOf } from './request-domains.ts'

/**
 * Conditions that ask an entity which is spelt out for what only a request carries. Nothing is
 * known of an entity that is neither principal nor resource: its attributes are an error, its tags
 * and memberships false.
 */
export function* literalLints(
  policy: CedarPolicy,
  { expression }: Conjunct,
  worlds: readonly Facts[],
): Iterable<Lint> {
  for (const { text, entity, fails } of accessesIn(expression)) {
    worlds[0]?.work.spend(worlds.length)
    if (worlds.every((facts) => isSubject(facts, entity))) continue
    const spelt = excerptOf(formatEntity(entity))
    const subject = `${text} is known only where ${spelt} is principal or resource`
    const outcome = !fails
      ? 'it is false for every other request'
      : policy.effect === 'forbid'
        ? 'for every other request this forbid fails, and a forbid that fails denies'
        : 'for every other request this permit fails, and permits nothing'
    yield {
      message: `${subject}; ${outcome}`,
      help: `ask principal or resource, or put principal == ${spelt} before it`,
    }
  }
}

/** Reports whether the entity can only be the principal or the resource. */
function isSubject(facts: Facts, { type, id }: EntityUid): boolean {
  return ['principal', 'resource'].some(
    (part) =>
      onlyValueOf(facts, typeOf(part)) === type && onlyValueOf(facts, `${part}.name`) === quote(id),
  )
}

interface LiteralAccess {
  readonly text: string
  readonly entity: EntityUid
  /** An error where nothing is known of the entity; otherwise false. */
  readonly fails: boolean
}

const failing: ReadonlySet<string> = new Set(['.', 'getTag'])
const asking: ReadonlySet<string> = new Set(['.', 'getTag', 'has', 'hasTag', 'in'])

function accessesIn(expression: CedarExpression): readonly LiteralAccess[] {
  const [name, body] = operatorOf(expression)
  const [left, ...others] = partsOf(body)
  const within = [left, ...others].flatMap((part) => (part === undefined ? [] : accessesIn(part)))
  // Reports each error once: an operation on the result of a failing access fails with it.
  if (!asking.has(name) || left === undefined || within.some(({ fails }) => fails)) return within
  const found = entityValuesOf(left).flatMap((entity) =>
    subjectTypes.has(entity.type)
      ? [{ text: quoteOf(expression), entity, fails: failing.has(name) }]
      : [],
  )
  return [...within, ...found]
}

const subjectTypes: ReadonlySet<string> = new Set(['Agent', 'User', 'Channel', 'Fabric'])

/** The spelt-out entities that an expression can give. */
export function entityValuesOf(expression: CedarExpression): readonly EntityUid[] {
  const [name, body] = operatorOf(expression)
  if (name === 'Value') {
    const uid = findEntityUid(body)
    return uid === null ? [] : [uid]
  }
  if (name !== 'if-then-else') return []
  const { then: yes, else: no } = asExpression(body)
  return [yes, no].flatMap((branch) => entityValuesOf(asExpression(branch)))
}
