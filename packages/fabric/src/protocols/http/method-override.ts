import { bareWord } from '../reading/folded-name.ts'
import type { Head } from '../reading/head.ts'
import { formPairs } from '../reading/request-fields.ts'
import { isRecord } from '../reading/rpc-message.ts'

/** Fields by which frameworks take another HTTP method than that of the request, as `bareWord`. */
const overrideNames: ReadonlySet<string> = new Set([
  'httpmethod',
  'httpmethodoverride',
  'methodoverride',
  'xhttpmethod',
  'xhttpmethodoverride',
  'xmethodoverride',
])

/**
 * The field that makes some receiver carry out another HTTP method than the one that policy decides
 * on; null for none. The headers of these names are never forwarded; what is left is the query, a
 * form and the top of a JSON document.
 */
export function findMethodOverride(head: Head, body: unknown): string | null {
  const at = head.path.indexOf('?')
  const inQuery = at < 0 ? null : findInForm(head.path.slice(at + 1), head.method)
  if (inQuery !== null) return inQuery
  if (typeof body === 'string') return findInForm(body, head.method)
  if (!isRecord(body)) return null
  for (const name in body) {
    const bare = bareWord(name)
    // As a member this is what logs and events of gateways report, and frameworks do not read it.
    if (!bare.includes('method') || bare === 'httpmethod') continue
    if (isOverride(name) && overrides(body[name], head.method)) return name
  }
  return null
}

function findInForm(text: string, method: string): string | null {
  // Ordinary forms hold neither; an escape could hide a letter.
  if (!/method|%/i.test(text)) return null
  return findIn(formPairs(text), method)
}

function findIn(
  fields: Iterable<readonly [name: string, value: unknown]>,
  method: string,
): string | null {
  for (const [name, value] of fields) {
    if (isOverride(name) && overrides(value, method)) return name
  }
  return null
}

/** In a list or record as well: a framework may take its first value, or join them. */
function overrides(value: unknown, method: string): boolean {
  if (typeof value === 'string') return value.trim().toUpperCase() !== method
  if (typeof value !== 'object' || value === null) return false
  return Object.values(value).some((each) => overrides(each, method))
}

/** PHP reads `.method` and `[method` as `_method`. */
function isOverride(given: string): boolean {
  const name = given.replaceAll('+', ' ').trim()
  const end = name.slice(1).search(/[[.]/)
  return isOverrideName(name) || (end >= 0 && isOverrideName(name.slice(0, end + 1)))
}

function isOverrideName(name: string): boolean {
  const bare = bareWord(name)
  return overrideNames.has(bare) || (bare === 'method' && /^\s*[_.[]/.test(name))
}
