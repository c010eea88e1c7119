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
 * Reports whether `text` is one of A2A's operations, by the name that the fabric decides on and
 * records.
 */
export function isA2aOperation(text: string): boolean {
  return decidedOn.has(text)
}

const decidedOn: ReadonlySet<string> = new Set([...a2aOperations.values(), 'GetAgentCard'])

/** Calls of MCP; every name below `notifications/` is one as well. */
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
