/** One sealed message as the store keeps it. The store reads nothing inside `sealed`. */
export interface StoredMessage {
  readonly channel: string
  /** Per channel, from 1, without gaps. */
  readonly offset: number
  readonly messageId: string
  readonly sealed: Uint8Array
  readonly storedAt: number
  readonly expiresAt: number
}

export interface Leased {
  readonly message: StoredMessage
  readonly attempt: number
  /** Fences the acknowledgement: a later lease of the same message makes this token worthless. */
  readonly leaseToken: string
  readonly leaseUntil: number
  /** Its place among the messages that were passed over; null when it was not one of them. */
  readonly place: number | null
}

export interface PublishCommand {
  readonly channel: string
  readonly messageId: string
  /** The same within the channel's window is the same message or a conflict. */
  readonly idempotencyHash: string
  /**
   * Hex; distinguishes the two: a retry has the same, another message under the same key has
   * another.
   */
  readonly contentHash: string
  /** Or null; a group is given only the oldest unsettled message of each. */
  readonly orderingHash: string | null
  readonly sealed: Uint8Array
  readonly now: number
  readonly expiresAt: number
}

export type PublishResult =
  | { readonly state: 'stored'; readonly offset: number }
  | { readonly state: 'duplicate'; readonly offset: number }
  | { readonly state: 'conflict' }
  | { readonly state: 'full' }

export interface LeaseCommand {
  readonly channel: string
  /** Competing consumers share a group; every group sees every message. */
  readonly group: string
  readonly countMax: number
  /** Of sealed messages together; a first message is given whatever its size. */
  readonly bytesMax: number
  readonly now: number
  readonly leaseMs: number
  /**
   * Of the messages that were passed over, those behind place `after`; `first` before all others.
   */
  readonly passedOver?: { readonly after: number; readonly first: boolean }
}

export interface Settle {
  readonly channel: string
  readonly group: string
  readonly offset: number
  readonly leaseToken: string
  readonly now: number
  /**
   * ack: never again · nack: after `delayMs` · reject: dead-lettered with `reason` · return:
   * it was never handed over, so it is due after `delayMs` and the attempt does not count · pass:
   * it was not handed over either, and from now on it stands behind everything that was not passed
   * over, at `place` where it had one.
   */
  readonly verdict: 'ack' | 'nack' | 'reject' | 'return' | 'pass'
  readonly delayMs: number
  readonly reason: string
  readonly place?: number | null
}

export interface DeadLetter {
  readonly channel: string
  readonly group: string
  readonly offset: number
  readonly messageId: string
  readonly attempts: number
  readonly reason: string
  readonly at: number
}

export interface ChannelStats {
  readonly channel: string
  readonly messages: number
  readonly bytes: number
  readonly dead: number
  readonly lastOffset: number
}

/**
 * Durable channels, at least once.
 *
 * Every method except `lease` resolves after its effect would survive a power loss and rejects when
 * it cannot promise that. A lease that is lost that way leaves its messages free, and its token
 * settles nothing; a message that became a dead letter at a lease stays one. `publish` answers in
 * the order of its arguments. An attempt counts at lease, so a consumer that crashes in a loop
 * reaches the cap; at the cap the message becomes a dead letter in the same transaction. An engine
 * may bound the groups of a channel; a group above it is given nothing. `settle` gives false, and
 * changes nothing, when the token is not the current one or the lease has run out.
 */
export interface ChannelStore {
  publish(orders: readonly PublishCommand[]): Promise<readonly PublishResult[]>
  lease(order: LeaseCommand): Promise<readonly Leased[]>
  settle(orders: readonly Settle[]): Promise<readonly boolean[]>
  dead(channel: string, countMax: number): Promise<readonly DeadLetter[]>
  /** Null when nothing was stored there, or it was swept after all groups were done with it. */
  find(channel: string, offset: number): Promise<StoredMessage | null>
  /** Puts a dead letter back with its attempts at zero; false when there is none. */
  redrive(channel: string, group: string, offset: number, now: number): Promise<boolean>
  stats(): Promise<readonly ChannelStats[]>
  /**
   * Writes all of it to a new file, as it is between two commits; not synced. Other
   * calls wait. Rejects with a SnapshotFault, and goes on serving, where that failed.
   */
  snapshot(path: string): Promise<void>
  close(): Promise<void>
}
