import { type ExtensionValue, equalExtensions, isExtension } from './extension-values.ts'
import type { Long } from './long.ts'
import type { SubjectKind } from './schema.ts'

/** A principal or resource as the request describes it. */
export interface Subject {
  readonly kind: SubjectKind
  readonly name: string
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: Readonly<Record<string, string | number | boolean>>
}

export type Value = boolean | string | Long | CedarSet | CedarRecord | EntityValue | ExtensionValue

/** An entity by its uid. `subject` is what is known of it; null where the frame must look it up. */
export class EntityValue {
  readonly type: string
  readonly id: string
  readonly subject: Subject | null

  constructor(type: string, id: string, subject: Subject | null = null) {
    this.type = type
    this.id = id
    this.subject = subject
  }
}

export class CedarRecord {
  readonly fields: ReadonlyMap<string, Value>

  constructor(fields: ReadonlyMap<string, Value>) {
    this.fields = fields
  }
}

function isPrimitive(value: Value): value is boolean | string | Long {
  return typeof value !== 'object'
}

/** Elements without repeats, found in constant time: a policy can list tens of thousands. */
export class CedarSet {
  readonly items: readonly Value[]
  readonly #primitives: ReadonlySet<Value> | null
  readonly #byKey: ReadonlyMap<string, Value> | null

  constructor(elements: readonly Value[]) {
    if (elements.every(isPrimitive)) {
      this.#primitives = new Set(elements)
      this.#byKey = null
      this.items = [...this.#primitives]
      return
    }
    this.#primitives = null
    const byKey = new Map<string, Value>()
    for (const element of elements) {
      const key = keyOf(element)
      if (!byKey.has(key)) byKey.set(key, element)
    }
    this.#byKey = byKey
    this.items = [...byKey.values()]
  }

  has(value: Value): boolean {
    return this.#primitives?.has(value) ?? this.#byKey?.has(keyOf(value)) ?? false
  }
}

/** A text that two values share exactly when they are equal. */
function keyOf(value: Value): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (isPrimitive(value)) return String(value)
  if (value instanceof EntityValue) return `entity ${JSON.stringify([value.type, value.id])}`
  if (value instanceof CedarSet) return `[${value.items.map(keyOf).toSorted().join()}]`
  if (value instanceof CedarRecord) {
    const fields = [...value.fields].map(([name, of]) => `${JSON.stringify(name)}:${keyOf(of)}`)
    return `{${fields.toSorted().join()}}`
  }
  if (value.extension === 'decimal') return `decimal ${value.scaled}`
  if (value.extension !== 'ipaddr') return `${value.extension} ${value.ms}`
  return `ip ${value.bits} ${value.address} ${value.prefix}`
}

/** Cedar's `==`: values of different types are unequal, never an error. */
export function equalValues(a: Value, b: Value): boolean {
  if (a === b) return true
  if (isPrimitive(a) || isPrimitive(b)) return false
  if (a instanceof EntityValue) {
    return b instanceof EntityValue && a.id === b.id && a.type === b.type
  }
  if (a instanceof CedarSet) {
    return (
      b instanceof CedarSet &&
      a.items.length === b.items.length &&
      a.items.every((item) => b.has(item))
    )
  }
  if (a instanceof CedarRecord) return b instanceof CedarRecord && equalRecords(a, b)
  return isExtension(b) && equalExtensions(a, b)
}

function equalRecords(a: CedarRecord, b: CedarRecord): boolean {
  if (a.fields.size !== b.fields.size) return false
  for (const [name, value] of a.fields) {
    const other = b.fields.get(name)
    if (other === undefined || !equalValues(value, other)) return false
  }
  return true
}

/** The type of a value, in Cedar's words, for messages. */
export function typeOfValue(value: Value): string {
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'string') return 'string'
  if (typeof value === 'number' || typeof value === 'bigint') return 'long'
  if (value instanceof EntityValue) return `entity of type ${value.type}`
  if (value instanceof CedarSet) return 'set'
  if (value instanceof CedarRecord) return 'record'
  return value.extension
}
