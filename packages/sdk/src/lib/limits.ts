/** Bounds that hold for every call and every served request; an option may lower some of them. */
export const LIMITS = {
  /** Node's own parser bound, stated so that both directions agree on it. */
  headerBytesMax: 16 * 1024,
  /** One message, buffered to be hashed before a byte of it is trusted. */
  bodyBytesMax: 10 * 1024 * 1024,
  /** All bodies that a serving agent holds, from their first byte until their response is out. */
  bodyMemoryBytesMax: 128 * 1024 * 1024,
  /** One server-sent event. */
  eventBytesMax: 1024 * 1024,
  /** One frame of a streamed body: as much as a route may permit. */
  frameBytesMax: 4 * 1024 * 1024,
  /** Frames at the end of a streamed request without which its transcript is still known. */
  recentFramesMax: 4_096,
  /** Silence on the connection of a streamed request, in both directions. */
  streamIdleMsMax: 3_600_000,
  /** The largest number that `Countersign-Timeout` holds. */
  timeoutMsMax: 99_999_999,
  /** The fabric, which knows what was sent, gets this long to state that the time has passed. */
  timeoutGraceMs: 1_000,
  /** A trust document, an enrolment answer, a refusal, an endpoint list. */
  controlBytesMax: 1024 * 1024,
  receiptBytesMax: 1024 * 1024,
  /** Attempts at one control request before its failure is reported. */
  attemptsMax: 5,
  /** No peer can make a caller wait longer than a day. */
  retryAfterMsMax: 86_400_000,
  /** A call that waits for an approval is made again after this at the earliest. */
  approvalPollMsMin: 250,
  /** Approvals do not wait longer than this. */
  approvalWaitMsMax: 7 * 86_400_000,
  /** Time that a receipt may take after the response: the outcome is written after delivery. */
  receiptWaitMsMax: 10_000,
  /** Silence on a connection that is not an event stream. */
  idleMsMax: 300_000,
  connectMsMax: 10_000,
  /** All that a call asks of another replica, which holds the log of an exchange. */
  holderMsMax: 30_000,
  /**
   * Nonces remembered by a serving agent; older than the signature window they are refused anyway.
   */
  noncesMax: 500_000,
  nonceLengthMax: 128,
  /** A head, and a whole request, must reach a serving agent within this time. */
  headMsMax: 10_000,
  requestMsMax: 60_000,
  connectionsMax: 4_096,
  /** Requests that are not verified yet: so many from the fabric, and as many from agents. */
  arrivingMax: 256,
  /** Verified requests whose response is not out yet. */
  concurrentMax: 256,
} as const
