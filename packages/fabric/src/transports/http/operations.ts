import { foldedName } from './folded-name.ts'

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

const foldedOperations: ReadonlySet<string> = new Set(
  [...a2aOperations.keys(), ...mcpMethods].map(foldedName),
)

/** Whether `folded`, as `foldedName` gives it, is an operation of A2A or MCP. */
export function isOperationName(folded: string): boolean {
  return (
    foldedOperations.has(folded) ||
    folded.startsWith('notifications/') ||
    folded.includes('pushnotification')
  )
}
