/** The request of a process to hold a lease. */
export interface LeaseRequest {
  readonly name: string
  /** Milliseconds from now on, by the clock of the store. Positive. */
  readonly leaseMs: number
  /** Shown to every reader of the store: what others need to know about the holder. */
  readonly note: string
  /**
   * True if the caller proved by other means that the former holder has ended, such as by a lock of
   * the operating system that every holder takes: the lease is then taken before it expires.
   */
  readonly isFormerEnded: boolean
}

/** A lease as its holder names it. */
export interface LeaseClaim {
  readonly name: string
  /** The fencing token that `take` returned. */
  readonly token: number
}

export interface LeaseRenewal extends LeaseClaim {
  readonly leaseMs: number
  readonly note: string
}

/** The state of a lease; a name that was taken once stays listed. */
export interface LeaseRow extends LeaseClaim {
  /** False when it was released or expired: the next process that asks takes it. */
  readonly isHeld: boolean
  readonly note: string
}

/**
 * Leases with fencing tokens, apart from the state: one is renewed every few seconds, which must
 * not wake those who follow the state, nor fill its history. Several processes, or several openings
 * in one process, may use one store.
 *
 * Every function rejects when the store cannot be read or written. It may have done its
 * work all the same; the caller of a rejected `take` does not hold the lease.
 */
export interface LeaseStore {
  /**
   * Takes a lease that is free: never taken, released, or expired by the clock of the store.
   * Resolves to its fencing token, greater than that of each earlier holder and durable, or to null
   * while another holds the lease.
   */
  take(request: LeaseRequest): Promise<number | null>
  /**
   * Extends a lease, also one that expired if no other process took it. Resolves to false, for
   * good, when it was released or taken by another.
   */
  renew(renewal: LeaseRenewal): Promise<boolean>
  /** Gives a lease back, unless another took it meanwhile. */
  release(claim: LeaseClaim): Promise<void>
  /** All leases, by name. */
  list(): Promise<readonly LeaseRow[]>
  close(): Promise<void>
}

/** Names in a store. Each is the name of a log slot, and a slot stays for ever. */
export const leasesMax = 64
export const leaseNoteBytesMax = 4_096

/** Throws for what no engine stores, before anything is written. */
export function assertLease({ name, note }: Pick<LeaseRequest, 'name' | 'note'>): void {
  if (!/^[a-z0-9-]{1,32}$/.test(name)) throw new TypeError('a lease has another kind of name')
  if (note.includes('\0') || !note.isWellFormed()) throw new TypeError('a note is well-formed text')
  if (Buffer.byteLength(note) > leaseNoteBytesMax) throw new RangeError('a note is too long')
}

/** One more name does not fit. */
export function tooManyLeases(): RangeError {
  return new RangeError(`the store has ${leasesMax} leases, and takes no other name`)
}
