import { MalformedError } from '../encoding/malformed-error.ts'

/**
 * Reads one value of an answer, or throws a MalformedError that names it by `where`. The result is
 * new and holds the known fields alone: a newer server may send more of them.
 */
export type Reader<T> = (value: unknown, where: string) => T

/**
 * Bounds each list and each map of an answer. The reader of the body already bounds its bytes; this
 * bounds the values that a view has to lay out.
 */
export const adminItemsMax = 100_000

export const readText: Reader<string> = (value, where) =>
  typeof value === 'string' ? value : fault(where, 'is not a text')

export const readFlag: Reader<boolean> = (value, where) =>
  typeof value === 'boolean' ? value : fault(where, 'is not true or false')

/** A count, an offset, a size, or a time in Unix milliseconds. */
export const readWhole: Reader<number> = (value, where) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
    ? value
    : fault(where, 'is not a whole number from 0')

export const readNumber: Reader<number> = (value, where) =>
  typeof value === 'number' && Number.isFinite(value) ? value : fault(where, 'is not a number')

/** The value of an attribute, or of a fact of an entry. */
export const readScalar: Reader<string | number | boolean> = (value, where) => {
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  return fault(where, 'is not a text, a number, true or false')
}

export function readOneOf<T extends string | boolean>(known: readonly T[]): Reader<T> {
  return (value, where) =>
    known.find((each) => each === value) ?? fault(where, `is not one of ${known.join(', ')}`)
}

export function readNullable<T>(read: Reader<T>): Reader<T | null> {
  return (value, where) => (value === null ? null : read(value, where))
}

export function readList<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, where) => {
    if (!Array.isArray(value)) return fault(where, 'is not a list')
    checkCount(value.length, where)
    return value.map((item: unknown, at) => read(item, `${where}[${at}]`))
  }
}

/** A map by names that the caller does not know, which a message therefore does not repeat. */
export function readMap<T>(read: Reader<T>): Reader<Readonly<Record<string, T>>> {
  return (value, where) => {
    const entries = Object.entries(objectOf(value, where))
    checkCount(entries.length, where)
    // `fromEntries` defines each name, so that `__proto__` is a name like any other.
    return Object.fromEntries(entries.map(([name, item]) => [name, read(item, `${where}.*`)]))
  }
}

/** One reader for each field of `T`; a field without one does not compile. */
export function readObject<T extends object>(
  fields: {
    readonly [Name in keyof T]-?: Reader<T[Name]>
  },
): Reader<T> {
  const readers: readonly (readonly [string, Reader<unknown>])[] = Object.entries(fields)
  return (value, where) => {
    const object = objectOf(value, where)
    const read = readers.map(([name, reader]) => {
      // Own fields alone: a prototype, which another party may have named, answers for none.
      if (!Object.hasOwn(object, name)) return fault(`${where}.${name}`, 'is missing')
      return [name, reader(object[name], `${where}.${name}`)] as const
    })
    // Every name of `T` is there, with the type of its reader; `fromEntries` forgets both.
    return Object.fromEntries(read) as T
  }
}

function objectOf(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (isObject(value)) return value
  return fault(where, 'is not an object')
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function checkCount(count: number, where: string): void {
  if (count > adminItemsMax) fault(where, `has more than ${adminItemsMax} items`)
}

function fault(where: string, what: string): never {
  throw new MalformedError(`${where} ${what}`)
}
