import type { SignedDescriptor } from '@countersign/protocol'

/** Bounds of one channel, as the operator set them. */
export interface ChannelBounds {
  readonly messagesMax: number
  readonly bytesMax: number
  /** One sealed message, in bytes. */
  readonly messageBytesMax: number
  /** Leases of one message in one group, after which it is dead. */
  readonly attemptsMax: number
  readonly dedupMs: number
  /** Maximum time that a message is kept, whatever its sender asked for. */
  readonly retentionMs: number
}

/** The state that the channel authority keeps of one channel. */
export interface ChannelRecord {
  readonly name: string
  /** Agents, ascending; those who are active and enrolled are in the epoch's descriptor. */
  readonly members: readonly string[]
  /** One more with every change of who can open what is sealed. */
  readonly epoch: number
  /** The oldest epoch in which a message is accepted. */
  readonly floor: number
  readonly suites: readonly number[]
  readonly bounds: ChannelBounds
  /** Unix milliseconds. */
  readonly createdAt: number
}

/** A key message, with what identifies it in the log of its epoch. */
export interface LoggedKey {
  readonly epoch: number
  readonly sender: string
  /** Hex. */
  readonly session: string
  readonly bytes: Uint8Array
}

export interface KeyLogLimits {
  readonly countMax: number
  readonly bytesMax: number
}

/**
 * The store of channels, their epochs and their key logs. A completed write survives a power loss.
 */
export interface ChannelRecords {
  /** Identifies this place, and the messages next to it, from when it was made. */
  readonly folder: string
  load(): Promise<readonly ChannelRecord[]>
  /**
   * Stores the record and the descriptor of its epoch, both or neither. False, and nothing changed,
   * when the stored epoch is not the one before: then another writer was first.
   */
  commit(record: ChannelRecord, descriptor: SignedDescriptor, issuedAt: number): Promise<boolean>
  findDescriptor(channel: string, epoch: number): Promise<SignedDescriptor | null>
  /** False when the session is in the log already, or the log of the epoch is full. */
  appendKey(channel: string, key: LoggedKey, limits: KeyLogLimits): Promise<boolean>
  /** Returns the size of the result of `keys`, in bytes. */
  keyBytes(channel: string, epoch: number): Promise<number>
  keys(channel: string, epoch: number): Promise<readonly Uint8Array[]>
  /**
   * Removes descriptors and keys of epochs that ended before `endedBefore`: no message of theirs is
   * kept any more, and without the keys no copy of one can be opened again.
   */
  shred(channel: string, endedBefore: number): Promise<void>
  /** Writes all of it to a new file; not synced. Rejects with a SnapshotFault. */
  snapshot(path: string): Promise<void>
  close(): Promise<void>
}
