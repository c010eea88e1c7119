import { a2aOperations, foldedWord, mcpMethods, operationLengthMax } from '@countersign/protocol'
import { bareWord, foldedName } from './folded-name.ts'
import { unescapeAll } from './unescape-all.ts'

/**
 * Push notification registration hands the receiver an address to call; until a relay stands in
 * between, the receiver would call it unseen. By whatever spelling: protobuf's JSON takes the
 * snake-case form of every name, others take any case.
 */
export function namesPush(name: string): boolean {
  return foldedName(name).includes('pushnotification')
}

/**
 * The parameter that names the subject of a call. The receiver uses only this one: a call that
 * carried another in addition would be decided on as one thing and carried out as the other.
 */
export const mcpSubjects: ReadonlyMap<string, 'name' | 'uri'> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['resources/subscribe', 'uri'],
  ['resources/unsubscribe', 'uri'],
])

/**
 * Methods of A2A before 0.2.2, which a receiver may still know: refused, since no policy names
 * them.
 */
export const obsoleteMethods: ReadonlySet<string> = new Set([
  'tasks/send',
  'tasks/sendSubscribe',
  'agent/authenticatedExtendedCard',
  'agent/getExtendedAgentCard',
])

/** Names of methods that register pushes, one of each version of A2A. */
const pushMethods: readonly string[] = [
  'tasks/pushNotificationConfig/set',
  'CreateTaskPushNotificationConfig',
  'TaskPushNotificationConfig',
]

/** All methods that a call in text could name, of every version. */
export const lookedUpMethods: readonly string[] = [
  ...[...a2aOperations.keys(), ...mcpMethods, ...obsoleteMethods, ...pushMethods],
]

const bareOperations: ReadonlySet<string> = new Set(
  [...a2aOperations.keys(), ...mcpMethods, ...obsoleteMethods].map(bareWord),
)
/** Of these only the whole name counts: they are what other services call theirs as well. */
const everydayOperations: ReadonlySet<string> = new Set(['initialize', 'ping'])
/** As many words as the longest method has. */
const wordsMax = 3
const methodPartsMax = 64

/**
 * Reports whether some receiver takes `method` for an operation of A2A or MCP: in another case,
 * with other separators or escapes, cut at NUL, after the name of a service or before a query.
 */
export function soundsLikeOperation(method: string): boolean {
  const plain = unescapeAll(method.slice(0, operationLengthMax))
  const folded = foldedName(plain)
  if (folded.startsWith('notifications/') || folded.includes('pushnotification')) return true
  if ([plain, folded].some((one) => bareOperations.has(bareWord(one)))) return true
  const parts = foldedWord(plain).split(/[^a-z0-9_-]+/, methodPartsMax)
  return parts.some((_, from) => holdsOperation(parts.slice(from, from + wordsMax)))
}

function holdsOperation(parts: readonly string[]): boolean {
  let joined = ''
  for (const part of parts) {
    joined += bareWord(part)
    if (bareOperations.has(joined) && !everydayOperations.has(joined)) return true
  }
  return false
}
