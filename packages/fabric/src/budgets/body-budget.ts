import type { Limit } from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import type { Refusal } from '../lib/refusal.ts'

/** The words of one budget, and the refusal with which it evicts. */
interface BudgetKind {
  readonly identity: NonNullable<Limit['per']>
  readonly address: NonNullable<Limit['per']>
  readonly occupied: string
  /**
   * Every body counts for at least this much: an exchange that waits occupies memory without one.
   */
  readonly overheadBytes: number
  /**
   * A body that holds no more than this weighs nothing, however long it stays open: a stream in
   * which nothing happens.
   */
  readonly lightBytes: number
  refuse(limit: Limit, detail: string): Refusal
}

/** Every request counts for at least this much: one that waits occupies memory without a body. */
export const bodyOverheadBytes = 4 * 1024
/**
 * And for this much until another limit counts it: a request over HTTP/2 occupies some 37 KiB, and
 * nothing else bounds how many of them arrive, wait for a thread or wait for the ledger.
 */
export const waitingBytes: number = 40 * 1024
/**
 * An identity that occupies no more than this is never evicted for others: eight small requests.
 */
export const floorBytes: number = 8 * waitingBytes

const kinds = {
  requests: {
    identity: 'identity',
    address: 'address',
    occupied: 'request bodies occupy too much',
    overheadBytes: bodyOverheadBytes,
    lightBytes: 0,
    refuse: (limit, detail) => overLimit('OVERLOADED', limit, detail, retryAfterMs),
  },
  answers: {
    identity: 'receiver',
    address: 'caller',
    occupied: 'what receivers sent occupies too much',
    // The exchange is on the account of its request.
    overheadBytes: 256,
    // A head is never larger.
    lightBytes: 16 * 1024,
    // The receiver has the request, and no whole response came back.
    refuse: (limit, detail) => overLimit('OUTCOME_UNKNOWN', limit, detail),
  },
} as const satisfies Record<string, BudgetKind>

/** The minimum rate at which a body of which much is kept has to arrive. */
export interface RequestRate {
  readonly name: Limit['name']
  /** Without a byte for this long, it is given up. */
  readonly stallMs: number
  /** Beyond `stallMs`, the average. */
  readonly bytesPerSecondMin: number
}

export interface BodyBudgetOptions {
  /** Bodies of requests unless stated otherwise: their parts are an identity's and an address's. */
  readonly kind?: keyof typeof kinds
  /** The name of the total and of its parts in docs/operate/limits.md. */
  readonly name: Limit['name']
  /** Bytes that all senders together may occupy. */
  readonly totalBytesMax: number
  /** The part of it that one identity (of answers: one receiver) may occupy. */
  readonly identityBytesMax: number
  /** The part of it that one address or IPv6 network (of answers: one caller) may occupy. */
  readonly addressBytesMax: number
  /** An identity that occupies no more than this is never evicted to make room for others. */
  readonly floorBytes: number
  /** A body that takes longer to arrive is given up by who reads it. */
  readonly timeoutMs: number
  /** Holds for bodies of which more than the floor is held. */
  readonly rate?: RequestRate
  /** The monotonic clock, in milliseconds. */
  now(): number
}

const retryAfterMs = 1_000
const sweepMs = 5_000

/**
 * Counts the memory of bodies per identity and per address: of request bodies from the first byte
 * until the exchange has ended, of answers (per receiver and per caller) until they are written.
 * Beyond a bound it evicts the largest and slowest body that is still arriving: of the identity, of
 * the address, or of the identity that occupies most. A body that has arrived whole is never
 * evicted. Of requests, what was sent is counted, which occupies at most twice as much
 * (`ArrivingBytes`); of answers, what is occupied.
 */
export class BodyBudget {
  readonly #options: BodyBudgetOptions
  readonly #identities = new Map<string, Set<BodyShare>>()
  readonly #addresses = new Map<string, Set<BodyShare>>()
  readonly #bytesOf = new Map<string, number>()
  readonly #bytesAt = new Map<string, number>()
  readonly #kind: BudgetKind
  /** As refusals name them; made once, since every chunk is counted against all three. */
  readonly #limits: Readonly<Record<'total' | 'identity' | 'address', Limit>>
  #total = 0
  #sweeper: NodeJS.Timeout | null = null

  constructor(options: BodyBudgetOptions) {
    this.#options = options
    this.#kind = kinds[options.kind ?? 'requests']
    const { name, totalBytesMax, identityBytesMax, addressBytesMax } = options
    this.#limits = {
      total: { name, value: totalBytesMax, unit: 'bytes' },
      identity: { name, value: identityBytesMax, unit: 'bytes', per: this.#kind.identity },
      address: { name, value: addressBytesMax, unit: 'bytes', per: this.#kind.address },
    }
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
      lightBytes: this.#kind.lightBytes,
      now: this.#options.now,
      count: (bytes) => this.#count(share, bytes),
      forget: () => this.#forget(share),
    })
    membersOf(this.#identities, identity).add(share)
    membersOf(this.#addresses, address).add(share)
    share.take(this.#kind.overheadBytes)
    return share
  }

  /**
   * As `open`, for what has not begun yet: refused, so that nothing has to be evicted later, when
   * the address has used seven eighths of its part; or when the identity has, an eighth of it for
   * this very address. Others go on at the expense of what is largest and slowest there: otherwise
   * one caller could use up a receiver for all of them.
   */
  admit(identity: string, address: string): BodyShare | Refusal {
    const { identityBytesMax, addressBytesMax } = this.#options
    const refuse = (limit: Limit): Refusal =>
      overLimit('OVERLOADED', limit, this.#kind.occupied, retryAfterMs)
    if ((this.#bytesAt.get(address) ?? 0) > (addressBytesMax / 8) * 7) {
      return refuse(this.#limits.address)
    }
    const isFull = this.bytesOf(identity) > (identityBytesMax / 8) * 7
    if (isFull && this.#bytesOfBoth(identity, address) > identityBytesMax / 8) {
      return refuse(this.#limits.identity)
    }
    return this.open(identity, address)
  }

  #bytesOfBoth(identity: string, address: string): number {
    let sum = 0
    for (const share of this.#identities.get(identity) ?? []) {
      if (share.address === address) sum += share.bytes
    }
    return sum
  }

  /** Gives up what arrives too slowly while much of it is held. */
  sweep(): void {
    const { rate, floorBytes, now } = this.#options
    let isWatched = false
    for (const shares of rate === undefined ? [] : this.#identities.values()) {
      for (const share of shares) {
        if (rate === undefined || share.bytes <= floorBytes) continue
        isWatched = true
        if (!share.isTooSlow(rate, now())) continue
        const { name, stallMs } = rate
        share.evict(this.#kind.refuse({ name, value: stallMs, unit: 'ms' }, 'it stalls'))
      }
    }
    if (isWatched) return
    clearInterval(this.#sweeper ?? undefined)
    this.#sweeper = null
  }

  #count(share: BodyShare, bytes: number): void {
    const { identity, address } = share
    const { totalBytesMax, identityBytesMax, addressBytesMax, floorBytes } = this.#options
    const limits = this.#limits
    this.#total += bytes
    add(this.#bytesOf, identity, bytes)
    add(this.#bytesAt, address, bytes)
    if (bytes < 0) return
    if (this.#options.rate !== undefined && share.bytes > floorBytes) {
      this.#sweeper ??= setInterval(() => this.sweep(), sweepMs).unref()
    }
    while (this.bytesOf(identity) > identityBytesMax) {
      if (!this.#evict(this.#identities.get(identity), 0, limits.identity)) break
    }
    while ((this.#bytesAt.get(address) ?? 0) > addressBytesMax) {
      const members = this.#largestOf(groupsOf(this.#addresses.get(address)))
      if (!this.#evict(members, floorBytes, limits.address)) break
    }
    while (this.#total > totalBytesMax) {
      const members = this.#largestOf(this.#identities)
      if (!this.#evict(members, floorBytes, limits.total)) break
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
    victim.evict(this.#kind.refuse(limit, this.#kind.occupied))
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
  readonly lightBytes: number
  now(): number
  count(bytes: number): void
  forget(): void
}

/** The account of bytes while they are kept. */
export interface ByteAccount {
  take(bytes: number): void
  give(bytes: number): void
}

/** The account of one body. Closed once, when it is held no longer. */
export class BodyShare implements ByteAccount {
  readonly #options: BodyShareOptions
  #bytes = 0
  /** Since when bytes are held, how many came since then, and when the last of them did. */
  #since: number
  #taken = 0
  #movedAt: number
  /** True if the next bytes are due from the sender; otherwise they have not been requested. */
  isAwaited = false
  #state: 'arriving' | 'whole' | 'closed' = 'arriving'
  #evicted: Refusal | null = null
  #onEvicted: (refusal: Refusal) => void = () => undefined

  constructor(options: BodyShareOptions) {
    this.#options = options
    this.#since = options.since
    this.#movedAt = options.since
  }

  get bytes(): number {
    return this.#bytes
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
    return Math.max(0, this.#bytes - this.#options.lightBytes) * (1 + now - this.#since)
  }

  isTooSlow({ stallMs, bytesPerSecondMin }: RequestRate, now: number): boolean {
    if (!this.isAwaited || this.#state !== 'arriving') return false
    if (now - this.#movedAt >= stallMs) return true
    return this.#taken * 1000 < (now - this.#since - stallMs) * bytesPerSecondMin
  }

  /** Accounts for bytes that have arrived; may evict this body or another one. */
  take(bytes: number): void {
    if (this.#state !== 'arriving' || bytes === 0) return
    this.#movedAt = this.#options.now()
    if (this.#bytes <= this.#options.lightBytes) {
      this.#since = this.#movedAt
      this.#taken = 0
    }
    this.#bytes += bytes
    this.#taken += bytes
    this.#options.count(bytes)
  }

  /** Accounts for bytes that are held no longer. */
  give(bytes: number): void {
    if (this.#state === 'closed' || bytes === 0) return
    this.#bytes -= bytes
    this.#options.count(-bytes)
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
