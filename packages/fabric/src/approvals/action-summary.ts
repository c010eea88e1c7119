import { type JsonValue, legible } from '@countersign/protocol'
import { type ActionContent, contentValue } from './action-content.ts'

const namesMax = 32
const nameLengthMax = 64

/**
 * The names of a call's parameters, for the person who decides: never a value, which may be
 * personal or a secret. The names are those of the tool's arguments, of the message's parts, or of
 * the query and the top of a JSON body.
 */
export function parameterNames(content: ActionContent & { readonly path: string }): string[] {
  const names = new Set<string>()
  const query = content.path.split('?', 2)[1] ?? ''
  for (const [name] of new URLSearchParams(query)) names.add(name)
  const value = contentValue(content)
  for (const name of namesIn(content.protocol, value)) {
    if (names.size > namesMax) break
    names.add(name)
  }
  const shown = [...names].slice(0, namesMax).map(shownName)
  return names.size > namesMax ? [...shown, '…'] : shown
}

function namesIn(protocol: string, value: JsonValue): readonly string[] {
  const params = protocol === 'http' || protocol === 'admin' ? value : member(value, 'params')
  const given = params ?? value
  if (protocol === 'admin') return namesOf(member(given, 'args'))
  if (protocol !== 'mcp') return namesOf(given)
  const tool = member(given, 'arguments')
  return tool === null ? namesOf(given) : namesOf(tool)
}

function member(value: JsonValue, name: string): JsonValue {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const object = value as { readonly [key: string]: JsonValue }
  return Object.hasOwn(object, name) ? (object[name] ?? null) : null
}

function namesOf(value: JsonValue): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  return Object.keys(value).slice(0, namesMax + 1)
}

function shownName(name: string): string {
  const whole = legible(name)
  return whole.length > nameLengthMax ? `${whole.slice(0, nameLengthMax - 1)}…` : whole
}
