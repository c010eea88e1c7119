import type { Run } from './closure.ts'
import { EvaluationError } from './evaluation-error.ts'
import type { PolicyContext, PolicyRequest } from './policy.ts'
import { ENTITY_TYPES, type SubjectKind } from './schema.ts'
import { CedarRecord, CedarSet, EntityValue, type Subject, type Value } from './values.ts'

/** One request while it is being decided. Values that few policies need are made on first use. */
export class Frame {
  readonly request: PolicyRequest
  #principal: EntityValue | null = null
  #resource: EntityValue | null = null
  #action: EntityValue | null = null
  #context: CedarRecord | null = null
  #labels: CedarSet | null = null

  constructor(request: PolicyRequest) {
    this.request = request
  }

  get principal(): EntityValue {
    this.#principal ??= subjectEntity(this.request.principal)
    return this.#principal
  }

  get resource(): EntityValue {
    this.#resource ??= subjectEntity(this.request.resource)
    return this.#resource
  }

  get action(): EntityValue {
    this.#action ??= new EntityValue('Action', this.request.action)
    return this.#action
  }

  get labels(): CedarSet {
    this.#labels ??= new CedarSet(this.request.context.labels)
    return this.#labels
  }

  get context(): CedarRecord {
    this.#context ??= new CedarRecord(
      new Map([...CONTEXT_FIELDS].map(([name, read]) => [name, read(this)])),
    )
    return this.#context
  }

  /**
   * Returns the subject of an entity. Data is known of the principal and the resource only, so
   * every other entity gives null. A policy that spells out their names finds the same data as
   * through the variable.
   */
  subjectOf(entity: EntityValue): Subject | null {
    if (entity.subject !== null) return entity.subject
    const { principal, resource } = this.request
    if (namesSubject(entity, principal)) return principal
    return namesSubject(entity, resource) ? resource : null
  }
}

function subjectEntity(subject: Subject): EntityValue {
  return new EntityValue(ENTITY_TYPES[subject.kind], subject.name, subject)
}

/** `Numbers` and `Flags` hold one subject's attributes; their id names it without ambiguity. */
function attributesId(subject: Subject): string {
  return `${ENTITY_TYPES[subject.kind]}/${subject.name}`
}

function namesSubject(entity: EntityValue, subject: Subject): boolean {
  if (entity.type === 'Numbers' || entity.type === 'Flags') {
    return entity.id === attributesId(subject)
  }
  return entity.type === ENTITY_TYPES[subject.kind] && entity.id === subject.name
}

/** A double that is not a 64-bit integer must not be compared as if it were one. */
function toInteger(value: number, name: string): number {
  if (!Number.isSafeInteger(value)) throw new EvaluationError(`${name} is not a whole number`)
  return value + 0
}

const dayMs = 86_400_000

function unixSeconds(context: PolicyContext): number {
  return toInteger(Math.floor(context.time), 'context.time')
}

/** Monday is 1, Sunday 7, in UTC; 1970-01-01 was a Thursday. */
function weekdayOf(context: PolicyContext): number {
  const days = Math.floor((unixSeconds(context) * 1000) / dayMs)
  return ((((days + 3) % 7) + 7) % 7) + 1
}

/** Every field of `context`, as the schema declares it. Risk is rounded up, never understated. */
export const CONTEXT_FIELDS: ReadonlyMap<string, Run> = new Map<string, Run>([
  ['transport', ({ request }) => request.context.transport],
  ['protocol', ({ request }) => request.context.protocol],
  ['operation', ({ request }) => request.context.operation],
  ['tool', ({ request }) => request.context.tool],
  ['method', ({ request }) => request.context.method],
  ['signed', ({ request }) => request.context.signed],
  ['risk', ({ request }) => toInteger(Math.ceil(request.context.risk), 'context.risk')],
  ['labels', (frame) => frame.labels],
  ['taskOwner', ({ request }) => request.context.taskOwner ?? ''],
  ['user', ({ request }) => request.context.user ?? ''],
  ['time', ({ request }) => unixSeconds(request.context)],
  [
    'now',
    ({ request }) => ({ extension: 'datetime', ms: unixSeconds(request.context) * 1000 }) as const,
  ],
  ['weekday', ({ request }) => weekdayOf(request.context)],
])

const subjectTypes: ReadonlySet<string> = new Set(
  Object.values(ENTITY_TYPES satisfies Record<SubjectKind, string>),
)

/** Attributes that the schema gives to agents, users, channels and the fabric. */
const subjectFields: ReadonlyMap<string, (subject: Subject) => Value> = new Map<
  string,
  (subject: Subject) => Value
>([
  ['name', (subject) => subject.name],
  ['segment', (subject) => new EntityValue('Segment', subject.segment)],
  ['numbers', (subject) => new EntityValue('Numbers', attributesId(subject), subject)],
  ['flags', (subject) => new EntityValue('Flags', attributesId(subject), subject)],
])

export function hasAttribute(frame: Frame, entity: EntityValue, name: string): boolean {
  if (!subjectTypes.has(entity.type) || !subjectFields.has(name)) return false
  return frame.subjectOf(entity) !== null
}

export function attributeOf(frame: Frame, entity: EntityValue, name: string): Value {
  const subject = subjectTypes.has(entity.type) ? frame.subjectOf(entity) : null
  if (subject === null) throw new EvaluationError(`nothing is known of ${formatEntity(entity)}`)
  const read = subjectFields.get(name)
  if (read === undefined) {
    throw new EvaluationError(`${formatEntity(entity)} has no attribute "${name}"`)
  }
  return read(subject)
}

const tagTypes: Readonly<Record<string, 'string' | 'number' | 'boolean' | undefined>> = {
  Agent: 'string',
  User: 'string',
  Channel: 'string',
  Fabric: 'string',
  Numbers: 'number',
  Flags: 'boolean',
}

/** `Object.hasOwn`: a property of a prototype, polluted or not, is not an attribute. */
function findTag(frame: Frame, entity: EntityValue, key: string): string | number | boolean | null {
  const attributes = frame.subjectOf(entity)?.attributes
  const value = attributes?.[key]
  if (attributes === undefined || value === undefined) return null
  return typeof value === tagTypes[entity.type] && Object.hasOwn(attributes, key) ? value : null
}

export function hasTag(frame: Frame, entity: EntityValue, key: string): boolean {
  return findTag(frame, entity, key) !== null
}

/**
 * A number with a fraction is present but unusable: a forbid that asks for it fails, and so denies.
 */
export function tagOf(frame: Frame, entity: EntityValue, key: string): Value {
  const value = findTag(frame, entity, key)
  if (value === null) throw new EvaluationError(`${formatEntity(entity)} has no tag "${key}"`)
  return typeof value === 'number' ? toInteger(value, `attribute "${key}"`) : value
}

/** Cedar's `in`: the entity itself, or a role or segment that it stands in. */
export function isIn(frame: Frame, entity: EntityValue, group: EntityValue): boolean {
  if (entity.id === group.id && entity.type === group.type) return true
  if (group.type !== 'Role' && group.type !== 'Segment') return false
  const subject = subjectTypes.has(entity.type) ? frame.subjectOf(entity) : null
  if (subject === null) return false
  return group.type === 'Role' ? subject.roles.includes(group.id) : subject.segment === group.id
}

export function formatEntity(entity: { readonly type: string; readonly id: string }): string {
  return `${entity.type}::${JSON.stringify(entity.id)}`
}
