import type {
  ChannelStats,
  DeadLetter,
  LeaseCommand,
  PublishCommand,
  PublishResult,
  Settle,
} from '../../channels/channel-store.ts'

/**
 * Bounds of one channel. They travel with each command, so that a change counts from the next one.
 */
export interface ChannelLimits {
  readonly messagesMax: number
  readonly bytesMax: number
  /** Leases of one message in one group, after which it is dead. */
  readonly attemptsMax: number
  readonly dedupMs: number
}

/** A stretch of the buffer that travels next to the commands, by transfer and not by copy. */
export interface Span {
  readonly at: number
  readonly length: number
}

export interface PublishItem extends Omit<PublishCommand, 'sealed'> {
  readonly sealed: Span
  readonly limits: ChannelLimits
}

export interface LeasedItem {
  readonly offset: number
  readonly messageId: string
  readonly storedAt: number
  readonly expiresAt: number
  readonly attempt: number
  readonly place: number | null
  readonly sealed: Span
}

export type Command =
  | { readonly kind: 'publish'; readonly items: readonly PublishItem[] }
  | {
      readonly kind: 'lease'
      readonly order: LeaseCommand
      readonly token: string
      readonly limits: ChannelLimits
    }
  | {
      readonly kind: 'settle'
      readonly items: readonly (Settle & { readonly attemptsMax: number })[]
    }
  | { readonly kind: 'dead'; readonly channel: string; readonly countMax: number }
  | { readonly kind: 'find'; readonly channel: string; readonly offset: number }
  | {
      readonly kind: 'redrive'
      readonly channel: string
      readonly group: string
      readonly offset: number
      readonly now: number
    }
  | { readonly kind: 'stats' }
  | { readonly kind: 'snapshot'; readonly path: string }
  | { readonly kind: 'sweep'; readonly now: number; readonly deadRetentionMs: number }
  | { readonly kind: 'close' }

/** The answer to each kind of command. */
export interface Answers {
  readonly publish: readonly PublishResult[]
  readonly lease: { readonly items: readonly LeasedItem[]; readonly goesOn: boolean }
  readonly settle: readonly boolean[]
  readonly dead: readonly DeadLetter[]
  readonly find: Omit<LeasedItem, 'attempt' | 'place'> | null
  readonly redrive: boolean
  readonly stats: readonly ChannelStats[]
  /** The fault, or null. */
  readonly snapshot: string | null
  readonly sweep: SweepReport
  readonly close: null
}

export interface SweepReport {
  readonly removed: number
  /** Since the start: syncs of transactions, and checkpoints (two syncs each). */
  readonly syncs: number
  readonly checkpoints: number
}

/** Main thread to worker. Answers come back in the order of the commands. */
export interface Batch {
  readonly commands: readonly Command[]
  readonly blob: ArrayBuffer
}

/** Worker to main thread, once per transaction, after its COMMIT. */
export type Reply =
  | { readonly ready: true }
  | { readonly answers: readonly Answers[keyof Answers][]; readonly blob: ArrayBuffer }
  | { readonly fatal: string }

export interface WorkerSettings {
  readonly path: string
  readonly synchronous: 'FULL' | 'NORMAL'
}
