import type { z } from 'zod'
import { nearest } from '../lib/nearest.ts'
import { configJsonSchema } from './schema.ts'

/** The part of JSON Schema in which the configuration is described. */
interface Described {
  readonly properties?: Readonly<Record<string, Described>>
  readonly additionalProperties?: Described | boolean
  readonly anyOf?: readonly Described[]
}

/**
 * Returns the probable intent of a key or value that does not exist, as `; did you mean …?`, or
 * nothing.
 */
export function suggestion(issue: z.core.$ZodIssue, path: readonly PropertyKey[]): string {
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(path)
    // A key of another alternative is spelt correctly.
    const unknown = issue.keys.filter((key) => !known.includes(key))
    return meant(unknown.map((key) => nearest(key, known) ?? elsewhere(key)))
  }
  if (issue.code === 'invalid_value' && typeof issue.input === 'string') {
    return meant([nearest(issue.input, issue.values.map(String))])
  }
  return ''
}

function meant(names: readonly (string | null)[]): string {
  const known = names.filter((name) => name !== null).map((name) => `\`${name}\``)
  return known.length === 0 ? '' : `; did you mean ${known.join(' and ')}?`
}

function keysAt(path: readonly PropertyKey[]): readonly string[] {
  return describedAt(path).flatMap(({ properties = {} }) => Object.keys(properties))
}

function describedAt(path: readonly PropertyKey[]): readonly Described[] {
  let found: readonly Described[] = alternatives(configJsonSchema())
  for (const name of path) {
    found = found.flatMap(({ properties, additionalProperties }) => {
      const inner = properties?.[String(name)] ?? additionalProperties
      return typeof inner === 'object' ? alternatives(inner) : []
    })
  }
  return found
}

function alternatives(described: Described): readonly Described[] {
  return [described, ...(described.anyOf ?? []).flatMap(alternatives)]
}

/** A key that stands at the wrong place: `port` belongs under `listen`. */
function elsewhere(key: string): string | null {
  const places: string[] = []
  const look = (described: Described, above: string, depth: number): void => {
    for (const [name, inner] of Object.entries(described.properties ?? {})) {
      const place = above === '' ? name : `${above}.${name}`
      if (name === key) places.push(place)
      if (depth < depthMax) for (const each of alternatives(inner)) look(each, place, depth + 1)
    }
  }
  look(configJsonSchema(), '', 0)
  return places[0] ?? null
}

/** Of the configuration file, which is two levels deep. */
const depthMax = 3
