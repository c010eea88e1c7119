import { bareWord, foldedName } from './folded-name.ts'

/** A2A 1.0 (section 9.4) and, on the right, what 0.3 called the same operations. */
export const a2aOperations: ReadonlyMap<string, string> = new Map([
  ['SendMessage', 'SendMessage'],
  ['SendStreamingMessage', 'SendStreamingMessage'],
  ['GetTask', 'GetTask'],
  ['ListTasks', 'ListTasks'],
  ['CancelTask', 'CancelTask'],
  ['SubscribeToTask', 'SubscribeToTask'],
  ['GetExtendedAgentCard', 'GetExtendedAgentCard'],
  ['message/send', 'SendMessage'],
  ['message/stream', 'SendStreamingMessage'],
  ['tasks/get', 'GetTask'],
  ['tasks/cancel', 'CancelTask'],
  ['tasks/resubscribe', 'SubscribeToTask'],
  ['agent/getAuthenticatedExtendedCard', 'GetExtendedAgentCard'],
])

/**
 * Push notification registration hands the receiver an address to call; until a relay stands in
 * between, the receiver would call it unseen. By whatever spelling: protobuf's JSON takes the
 * snake-case form of every name, others take any case.
 */
export function namesPush(name: string): boolean {
  return foldedName(name).includes('pushnotification')
}

export const mcpMethods: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'server/discover',
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  'logging/setLevel',
  'subscriptions/listen',
  'tasks/get',
  'tasks/result',
  'tasks/list',
  'tasks/cancel',
  'tasks/update',
])

export function isMcpMethod(method: string): boolean {
  return mcpMethods.has(method) || method.startsWith('notifications/')
}

/** Methods of A2A before 0.2.2, which a receiver may still know: refused, since no policy names them. */
export const obsoleteMethods: ReadonlySet<string> = new Set([
  'tasks/send',
  'tasks/sendSubscribe',
  'agent/authenticatedExtendedCard',
  'agent/getExtendedAgentCard',
])

const bareOperations: ReadonlySet<string> = new Set(
  [...a2aOperations.keys(), ...mcpMethods, ...obsoleteMethods].map(bareWord),
)
/** The name of a protocol's service before that of a method, as gRPC writes it. */
const qualified = /^\/?(?:a2a|mcp)[a-z0-9.]*[./:](.{1,64})$/i

/**
 * Whether some receiver takes `method` for an operation of A2A or MCP: in another case, with other
 * separators, cut at NUL, or behind the name of a service.
 */
export function soundsLikeOperation(method: string): boolean {
  const folded = foldedName(method)
  if (folded.startsWith('notifications/') || folded.includes('pushnotification')) return true
  return [method, folded, qualified.exec(method)?.[1] ?? ''].some((one) =>
    bareOperations.has(bareWord(one)),
  )
}
