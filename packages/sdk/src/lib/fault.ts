/**
 * Faults on this side of the wire: `says` states what happened, `next` what its reader can do. A
 * refusal by the fabric is a `RefusedError` instead.
 */
export const FAULTS = {
  JOIN_MALFORMED: {
    says: 'the join string could not be parsed',
    next: 'ask the operator for a new one: `countersign agent enroll <name>` prints it as one line',
  },
  JOIN_MISSING: {
    says: 'this directory holds no identity and no join string was given',
    next: 'pass `join` once, with the line that the operator handed out',
  },
  ROOT_MISMATCHED: {
    says: 'the fabric at this address does not have the root certificate that the join string names',
    next: 'do not retry: compare the join string with the operator; this may be an interception',
  },
  TRUST_MALFORMED: {
    says: 'the trust document is not acceptable',
    next: 'check that the address is a fabric of the same version',
  },
  FABRIC_UNREACHABLE: {
    says: 'the fabric could not be reached, and nothing was sent',
    next: 'check address, port and firewall, then try again',
  },
  OUTCOME_UNKNOWN: {
    says: 'the request was sent and no response came back: the receiver may have acted',
    next: 'ask the receiver, or look the exchange up, before the call is repeated',
  },
  ANSWER_MALFORMED: {
    says: 'the answer could not be parsed',
    next: 'read `cause`; the other side may speak another version',
  },
  ANSWER_TOO_LARGE: {
    says: 'the answer exceeds a size limit',
    next: 'ask for less, or read the answer as events',
  },
  MEMORY_FULL: {
    says: 'there is no room for the body: too much of what is being received is held already',
    next: 'read fewer replies at the same time; this one may be a success that could not be read',
  },
  REQUEST_MALFORMED: {
    says: 'the request cannot be sent as given',
    next: 'correct the argument that the message names',
  },
  REQUEST_TOO_LARGE: {
    says: 'the request exceeds a size limit',
    next: 'send less, or raise `bodyBytesMax` on both sides',
  },
  BACKLOG_FULL: {
    says: 'too much waits to be sent on this channel, and this message was not sent',
    next: 'await the messages that were sent before you send more',
  },
  REQUEST_UNFINISHED: {
    says: 'the body of the streamed request failed before its end, and the request was broken off',
    next: 'read `cause`; the receiver has the frames before it: ask it, before you stream again',
  },
  CALL_TIMED_OUT: {
    says: 'no whole answer came within `timeoutMs`',
    next: 'ask the receiver, or look the exchange up, before the call is repeated',
  },
  BODY_CONSUMED: {
    says: 'the body was already read in another form',
    next: 'read a body once: as bytes, text or json, or else as events, frames or values',
  },
  BODY_UNFINISHED: {
    says: 'the body ended before it was complete',
    next: 'the receiver may have acted; check the receipt for the outcome before repeating the call',
  },
  IDENTITY_DAMAGED: {
    says: 'the stored identity could not be read',
    next: 'remove the file and enrol again with a new join string',
  },
  IDENTITY_EXPIRED: {
    says: 'the certificate of this agent has expired and could not be renewed',
    next: 'read `cause`, or enrol again with a new join string in an empty directory',
  },
  RECEIPT_PENDING: {
    says: 'the fabric has not closed this exchange yet',
    next: 'ask again later; the exchange stays recorded',
  },
  RECEIPT_REJECTED: {
    says: 'the receipt does not verify against the pinned trust',
    next: 'keep the receipt as evidence and show it to an auditor: the ledger is not as it was pinned',
  },
  RECEIPT_MISMATCHED: {
    says: 'the receipt verifies, but it is not about this exchange',
    next: 'keep receipt and exchange id as evidence: a response named another exchange',
  },
  FRAMES_MISMATCHED: {
    says: 'the receipt verifies, but other frames are on record than passed here',
    next: 'keep receipt and frames as evidence: a frame was changed, dropped, added or moved',
  },
  SERVER_UNAVAILABLE: {
    says: 'the agent could not listen',
    next: 'choose another port (0 takes a free one) or stop what holds it',
  },
  AGENT_CLOSED: {
    says: 'this agent was closed',
    next: 'open it again with `openAgent`',
  },
} as const satisfies Record<string, { readonly says: string; readonly next: string }>

export type FaultCode = keyof typeof FAULTS

/** Faults after a request left: the other side may have acted on it. */
const AFTER_SENDING: ReadonlySet<FaultCode> = new Set([
  'OUTCOME_UNKNOWN',
  'ANSWER_MALFORMED',
  'ANSWER_TOO_LARGE',
  'MEMORY_FULL',
  'BODY_UNFINISHED',
  'REQUEST_UNFINISHED',
  'CALL_TIMED_OUT',
])

/** A failure on this side of the wire. `message` holds code, sentence, detail and the next step. */
export class AgentError extends Error {
  readonly code: FaultCode
  /** The step that the reader can take about it, as one sentence. */
  readonly next: string
  /** True when the receiver may have acted, so that a second call could act twice. */
  readonly mayHaveActed: boolean
  /** True when the same call may be tried again unchanged. */
  readonly retry: boolean

  constructor(code: FaultCode, detail = '', options: ErrorOptions = {}) {
    const { says, next } = FAULTS[code]
    super(`${code}: ${says}${detail === '' ? '' : ` (${detail})`}. Next: ${next}.`, options)
    this.name = 'AgentError'
    this.code = code
    this.next = next
    this.mayHaveActed = AFTER_SENDING.has(code)
    this.retry = code === 'FABRIC_UNREACHABLE'
  }
}
