import type { RouteRetries } from '@countersign/protocol'

/** The part of a request by which it is known if a second copy changes anything. */
export interface Repeated {
  readonly protocol: string
  /** As it was classified: for plain HTTP the method. */
  readonly operation: string
  readonly tool: string
  readonly headers: Iterable<readonly [string, string]>
}

/** Idempotent by RFC 9110, section 9.2.2. OPTIONS and TRACE do not pass a head at all. */
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** Reads of A2A. Those that open a stream are left to the caller, which knows what it has read. */
const reads: ReadonlySet<string> = new Set(['GetTask', 'ListTasks', 'GetAgentCard'])

/**
 * Reports whether a request may be sent again after a byte of it left. A tool's own annotation
 * counts for nothing here: it is the receiver's word about itself.
 */
export function isRepeatable(request: Repeated, retries: RouteRetries): boolean {
  if (!retries.resend) return false
  const { protocol, operation, tool } = request
  if (protocol === 'http' && methods.has(operation)) return true
  if (protocol === 'a2a' && reads.has(operation)) return true
  const named = operation === 'tools/call' ? `${operation} ${tool}` : operation
  if (protocol !== 'http' && retries.operations.includes(named)) return true
  if (!retries.idempotencyKey) return false
  for (const [name, value] of request.headers) {
    if (name.toLowerCase() === 'idempotency-key' && value !== '') return true
  }
  return false
}
