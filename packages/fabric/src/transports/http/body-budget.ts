import { type Limit, overLimit } from '../../lib/limits.ts'
import type { Refusal } from '../../lib/refusal.ts'

export interface BodyBudgetOptions {
  /** The name of the total in docs/operate/limits.md; those of its parts are derived from it. */
  readonly name: Limit['name']
  /** Bytes of request bodies that all senders together may occupy. */
  readonly totalBytesMax: number
  /** The part of it that one identity may occupy. */
  readonly identityBytesMax: number
  /** The part of it that one address (or IPv6 network) may occupy. */
  readonly addressBytesMax: number
  /** An identity that occupies no more than this is never evicted to make room for others. */
  readonly floorBytes: number
  /** A body that takes longer to arrive is given up. */
  readonly timeoutMs: number
  /** The monotonic clock, in milliseconds. */
  now(): number
}

/** Every body counts for at least this much: a request that waits occupies memory without a body. */
export const bodyOverheadBytes = 4 * 1024

const retryAfterMs = 1_000

/**
 * Counts the memory of request bodies per identity and per address, from the first byte until the
 * exchange has ended. Beyond a bound it evicts the largest and slowest body that is still arriving:
 * of the identity, of the address, or of the identity that occupies most. A body that has arrived
 * whole is never evicted. Counted is what was sent; `ArrivingBytes` occupies at most twice that.
 */
export class BodyBudget {
  readonly #options: BodyBudgetOptions
  readonly #identities = new Map<string, Set<BodyShare>>()
  readonly #addresses = new Map<string, Set<BodyShare>>()
  readonly #bytesOf = new Map<string, number>()
  readonly #bytesAt = new Map<string, number>()
  #total = 0

  constructor(options: BodyBudgetOptions) {
    this.#options = options
  }

  /** Bytes that are accounted for at present. */
  get totalBytes(): number {
    return this.#total
  }

  bytesOf(identity: string): number {
    return this.#bytesOf.get(identity) ?? 0
  }

  open(identity: string, address: string): BodyShare {
    const share = new BodyShare({
      identity,
      address,
      since: this.#options.now(),
      timeoutMs: this.#options.timeoutMs,
      count: (bytes) => this.#count(share, bytes),
      forget: () => this.#forget(share),
    })
    membersOf(this.#identities, identity).add(share)
    membersOf(this.#addresses, address).add(share)
    share.take(bodyOverheadBytes)
    return share
  }

  #count({ identity, address }: BodyShare, bytes: number): void {
    const { name, totalBytesMax, identityBytesMax, addressBytesMax, floorBytes } = this.#options
    this.#total += bytes
    add(this.#bytesOf, identity, bytes)
    add(this.#bytesAt, address, bytes)
    if (bytes < 0) return
    const ofIdentity = bytesLimit(`${name} of one identity`, identityBytesMax)
    while (this.bytesOf(identity) > identityBytesMax) {
      if (!this.#evict(this.#identities.get(identity), 0, ofIdentity)) break
    }
    const ofAddress = bytesLimit(`${name} of one address`, addressBytesMax)
    while ((this.#bytesAt.get(address) ?? 0) > addressBytesMax) {
      const members = this.#largestOf(groupsOf(this.#addresses.get(address)))
      if (!this.#evict(members, floorBytes, ofAddress)) break
    }
    while (this.#total > totalBytesMax) {
      const members = this.#largestOf(this.#identities)
      if (!this.#evict(members, floorBytes, bytesLimit(name, totalBytesMax))) break
    }
  }

  /** The members of the identity that occupies most, among those with a body still arriving. */
  #largestOf(groups: ReadonlyMap<string, Iterable<BodyShare>>): Iterable<BodyShare> {
    let largest: Iterable<BodyShare> = []
    let most = -1
    for (const [identity, members] of groups) {
      const bytes = this.bytesOf(identity)
      if (bytes <= most || !hasArriving(members)) continue
      most = bytes
      largest = members
    }
    return largest
  }

  #evict(members: Iterable<BodyShare> = [], floorBytes: number, limit: Limit): boolean {
    const now = this.#options.now()
    let victim: BodyShare | null = null
    for (const share of members) {
      if (!share.isArriving) continue
      if (victim === null || share.burden(now) > victim.burden(now)) victim = share
    }
    if (victim === null || this.bytesOf(victim.identity) <= floorBytes) return false
    victim.evict(overLimit('OVERLOADED', limit, 'request bodies occupy too much', retryAfterMs))
    return true
  }

  #forget(share: BodyShare): void {
    leave(this.#identities, share.identity, share)
    leave(this.#addresses, share.address, share)
  }
}

interface BodyShareOptions {
  readonly identity: string
  readonly address: string
  readonly since: number
  readonly timeoutMs: number
  count(bytes: number): void
  forget(): void
}

/** The account of one request body. Closed once, when the exchange has ended. */
export class BodyShare {
  readonly #options: BodyShareOptions
  #bytes = 0
  #state: 'arriving' | 'whole' | 'closed' = 'arriving'
  #evicted: Refusal | null = null
  #onEvicted: (refusal: Refusal) => void = () => undefined

  constructor(options: BodyShareOptions) {
    this.#options = options
  }

  get identity(): string {
    return this.#options.identity
  }

  get address(): string {
    return this.#options.address
  }

  get timeoutMs(): number {
    return this.#options.timeoutMs
  }

  get isArriving(): boolean {
    return this.#state === 'arriving'
  }

  get evicted(): Refusal | null {
    return this.#evicted
  }

  /** Bytes times milliseconds: large and slow bodies weigh most. */
  burden(now: number): number {
    return this.#bytes * (1 + now - this.#options.since)
  }

  /** Accounts for bytes that have arrived; may evict this body or another one. */
  take(bytes: number): void {
    if (this.#state !== 'arriving') return
    this.#bytes += bytes
    this.#options.count(bytes)
  }

  /** Called at most once, also when the eviction has happened before. */
  onEvicted(listener: (refusal: Refusal) => void): void {
    if (this.#evicted === null) this.#onEvicted = listener
    else listener(this.#evicted)
  }

  evict(refusal: Refusal): void {
    if (this.#state !== 'arriving') return
    this.#evicted = refusal
    this.close()
    this.#onEvicted(refusal)
  }

  /** The body is whole: it stays accounted for, and can no longer be evicted. */
  arrived(): void {
    if (this.#state === 'arriving') this.#state = 'whole'
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#options.forget()
    this.#options.count(-this.#bytes)
    this.#bytes = 0
  }
}

function bytesLimit(name: Limit['name'], value: number): Limit {
  return { name, value, unit: 'bytes' }
}

function membersOf(groups: Map<string, Set<BodyShare>>, name: string): Set<BodyShare> {
  const known = groups.get(name)
  if (known !== undefined) return known
  const members = new Set<BodyShare>()
  groups.set(name, members)
  return members
}

function leave(groups: Map<string, Set<BodyShare>>, name: string, share: BodyShare): void {
  const members = groups.get(name)
  members?.delete(share)
  if (members?.size === 0) groups.delete(name)
}

function add(counts: Map<string, number>, name: string, bytes: number): void {
  const sum = (counts.get(name) ?? 0) + bytes
  if (sum === 0) counts.delete(name)
  else counts.set(name, sum)
}

function groupsOf(shares: Iterable<BodyShare> = []): ReadonlyMap<string, readonly BodyShare[]> {
  const groups = new Map<string, BodyShare[]>()
  for (const share of shares) {
    const members = groups.get(share.identity)
    if (members === undefined) groups.set(share.identity, [share])
    else members.push(share)
  }
  return groups
}

function hasArriving(shares: Iterable<BodyShare>): boolean {
  for (const { isArriving } of shares) if (isArriving) return true
  return false
}
