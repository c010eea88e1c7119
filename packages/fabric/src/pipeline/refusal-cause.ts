import type { RefusalCode } from '@countersign/protocol'

/**
 * Refusals that the caller alone causes, by requests that it is not entitled to make. A receiver
 * that is down or broken, a full ledger or a withdrawn right is not evidence about the caller.
 */
const BY_CALLER: ReadonlySet<unknown> = new Set<RefusalCode>([
  'SIGNATURE_MISSING',
  'SIGNATURE_REJECTED',
  'MESSAGE_REPLAYED',
  'CONTENT_BLOCKED',
  'NOT_PERMITTED',
  'APPROVAL_REQUIRED',
])

/**
 * Refusals of names and ids that a caller may have received from the receiver: of a task, a
 * session, an event, a tool, a path, an operation. They do not raise the caller's risk when the
 * receiver is an agent: one that hands out a refused id, or gave it to an accomplice first, would
 * raise the risk of any agent that uses it.
 */
const BY_NAMES: ReadonlySet<unknown> = new Set<RefusalCode>([
  'MESSAGE_MALFORMED',
  'OPERATION_UNKNOWN',
  'RECEIVER_UNKNOWN',
])

export type Cause = 'caller' | 'others' | null

/**
 * Returns who can have caused a refusal for `target`; null if the refusal is not evidence about
 * either side.
 */
export function causeOf(
  code: unknown,
  target: { readonly kind: 'agent' | 'channel' | 'fabric'; readonly byOthers: boolean },
): Cause {
  const isNamed = BY_NAMES.has(code)
  if (!isNamed && !BY_CALLER.has(code)) return null
  // Channels are the operator's: no agent names or removes one.
  return target.byOthers || (isNamed && target.kind === 'agent') ? 'others' : 'caller'
}
