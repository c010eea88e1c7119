import {
  LEASE_MESSAGES_MAX,
  type LeaseRequest,
  parseSealedMessage,
  type SealedMessage,
} from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { StillPermitted } from '../pipeline/delivery.ts'
import type { SenderRight, SentMessage } from '../pipeline/sender-right.ts'
import type { ChannelStore, Leased, Settle } from './channel-store.ts'
import type { HeldMessages } from './held-messages.ts'
import { copies, type Hold, type LeaseMemory } from './lease-memory.ts'
import type { LeasePlace, LeaseTokens } from './lease-tokens.ts'
import { LeaseWaiters } from './lease-waiters.ts'
import { type Look, Review, Reviews } from './reviews.ts'

/** While a request is held open, leases of others run out and delays pass: it looks this often. */
const lookAgainMs = 1000
/**
 * Looks in a row past messages that may not be handed over. The messages that were passed over are
 * behind the next look, which takes as many messages as a lease can: a flood is passed in few
 * looks.
 */
const looksMax = 32
/** Withheld messages of one request that are counted individually, for the record. */
const withheldMax = 65_536
/** In the record of one lease. */
const deadShownMax = 256
/** Of messages in one response. */
export const leaseBytesMax: number = 8 * 1024 * 1024
/** A caller whom the pipeline authenticated and authorized, and the channel that it addressed. */
export interface ChannelCall {
  readonly channel: string
  readonly caller: string
  /** Asked after every wait: the decision of the pipeline is as old as the request. */
  readonly still: StillPermitted
}

/** A call that settles messages: each of them is decided on by its own labels. */
export interface SettlerCall extends ChannelCall {
  mayReceive(labels: readonly string[]): boolean
}

/** A call that takes messages. */
export interface ReceiverCall extends SettlerCall {
  /**
   * The proof of the receiver's identity: a message refused under one proof may be allowed under
   * another.
   */
  readonly proof: string
  /** Another one whenever policy is another. */
  policyVersion(): string
  /** Returns whether the sender of a message may still publish it. */
  senderRight(message: SentMessage): SenderRight
}

/**
 * The messages that were leased, and how to put them back when they cannot be handed over after
 * all.
 */
export interface LeasedMessages {
  readonly messages: readonly Leased[]
  /**
   * Must be given the response's size once the messages are in it, and released when it has left.
   */
  readonly hold: Hold
  /** Number of messages withheld, since their senders may not publish them at present. */
  readonly withheld: number
  /** Offsets that became dead letters, since their senders were revoked; the first of them. */
  readonly deadLettered: readonly number[]
  giveBack(): Promise<void>
}

interface LeasingOptions {
  readonly store: Pick<ChannelStore, 'lease' | 'settle'>
  readonly clock: Clock
  readonly memory: LeaseMemory
  readonly held: HeldMessages
  readonly tokens: LeaseTokens
  /** Another one whenever an agent's standing is another. */
  statusVersion(): number
  /** The channel's name, while its caller has a part in it. */
  requireMember(call: ChannelCall): string | Refusal
}

/** Hands out messages to receivers, who wait for them, and takes back what they may not have. */
export class Leasing {
  readonly #options: LeasingOptions
  readonly #waiters = new LeaseWaiters()
  readonly #reviews = new Reviews()
  #closing = false

  constructor(options: LeasingOptions) {
    this.#options = options
  }

  /** There may be something on the channel. */
  wake(channel: string): void {
    this.#waiters.wake(channel)
  }

  /** Lets go of every request that is held open. */
  close(): void {
    this.#closing = true
    this.#waiters.wakeAll()
  }

  /**
   * Waits at most `waitMs`; empty when there was nothing. `signal` fires when the receiver is gone.
   * A message that this receiver may not have goes back unharmed: it is due again, and no attempt
   * was counted.
   */
  async lease(
    call: ReceiverCall,
    { group, count, leaseMs, waitMs }: LeaseRequest,
    signal: AbortSignal | null = null,
  ): Promise<LeasedMessages | Refusal> {
    const { clock } = this.#options
    const endsAt = clock.monotonic() + waitMs
    const account: SenderAccount = { withheld: new Set(), deadLettered: [] }
    for (let [looks, wide] = [0, count]; ; ) {
      const hold = await this.#options.memory.reserve(call.caller, leaseBytesMax)
      if (hold instanceof Refusal) return hold
      const found = await this.#look(
        call,
        { group, count, leaseMs },
        { hold, signal, account, wide },
      ).catch((cause: unknown) => {
        hold.release()
        throw cause
      })
      if (found instanceof Refusal || found.kept.length === 0) hold.release()
      if (found instanceof Refusal) return found
      const { place, kept, passed } = found
      looks++
      const isOver = this.#closing || signal?.aborted === true
      if (kept.length > 0 || isOver) return this.#handOut(place, kept, { hold, account })
      // Messages of other senders may come after these.
      wide = LEASE_MESSAGES_MAX
      if (passed > 0 && looks < looksMax) continue
      looks = 0
      const left = endsAt - clock.monotonic()
      if (left <= 0) return this.#handOut(place, [], { hold, account })
      const waiter = { channel: place.channel, identity: call.caller }
      const waited = await this.#waiters.wait(waiter, Math.min(left, lookAgainMs), signal)
      if (!waited) return this.#handOut(place, [], { hold, account })
    }
  }

  /**
   * Takes the messages that are available to this receiver now, and no more than there is room for.
   */
  async #look(
    call: ReceiverCall,
    { group, count, leaseMs }: Pick<LeaseRequest, 'group' | 'count' | 'leaseMs'>,
    { hold, signal, account, wide }: Looking,
  ): Promise<(Sifted & { readonly place: LeasePlace }) | Refusal> {
    // Asked anew each time: a receiver that was removed while it waited gets nothing.
    const taken = this.#options.requireMember(call)
    if (taken instanceof Refusal) return taken
    const place = { channel: taken, group, caller: call.caller }
    const now = this.#options.clock.now()
    const bytesMax = Math.min(hold.readBytesMax, leaseBytesMax)
    const { review, look } = this.#nextLook(call, place)
    const found = await this.#options.store.lease({
      ...{ channel: place.channel, group, countMax: wide, bytesMax, now, leaseMs },
      passedOver: { after: look.after, first: look.first },
    })
    const leased = found.map((one) => ({ ...one, parsed: parseSealedMessage(one.message.sealed) }))
    const sifted = await this.#sift(call, place, { leased, signal, account, count })
    if (sifted.refusal !== null) return sifted.refusal
    const places = leased.map((one) => one.place)
    if (!sifted.isGone) review.saw(look, places, this.#options.clock.monotonic())
    return { ...sifted, place }
  }

  #nextLook(
    call: ReceiverCall,
    { channel, group }: LeasePlace,
  ): { readonly review: Review; readonly look: Look } {
    const now = this.#options.clock.monotonic()
    const rights = `${call.policyVersion()} ${this.#options.statusVersion()}`
    const reader = `${channel} ${group} ${call.proof}`
    const review = this.#reviews.of(call.caller, reader, () => new Review(rights, now))
    return { review, look: review.next(rights, now) }
  }

  /** Keeps what the receiver may have at this moment, and puts the rest back or dead-letters it. */
  async #sift(
    call: ReceiverCall,
    place: LeasePlace,
    {
      leased,
      signal,
      account,
      count,
    }: Pick<Looking, 'signal' | 'account'> & {
      readonly leased: readonly Parsed[]
      readonly count: number
    },
  ): Promise<Sifted> {
    const taken = this.#options.requireMember(call)
    const refusal = taken instanceof Refusal ? taken : null
    const isGone = refusal !== null || signal?.aborted === true
    if (isGone) {
      await this.#putBack(place, leased)
      return { kept: [], passed: 0, isGone, refusal }
    }
    const { kept, back, held, dead } = pilesOf(call, leased)
    await this.#pass(place, [...back, ...held].toSorted(byOffset))
    await this.#giveBack(place, kept.slice(count).map(handleOf))
    await this.#settle(place, dead.map(handleOf), {
      ...{ verdict: 'reject', delayMs: 0, reason: 'its sender was revoked' },
    })
    for (const { message } of held) {
      if (account.withheld.size < withheldMax) account.withheld.add(message.offset)
    }
    account.deadLettered.push(...dead.map(({ message: { offset } }) => offset))
    account.deadLettered.splice(deadShownMax)
    const passed = back.length + held.length + dead.length
    const given = kept.slice(0, count)
    if (passed === 0 && given.length === kept.length) return { kept, passed, isGone, refusal }
    return { ...(await this.#confirmed(call, place, given)), passed, isGone }
  }

  /** Asked anew after each wait for the disk: what may not be handed over any more goes back. */
  async #confirmed(
    call: ReceiverCall,
    place: LeasePlace,
    given: readonly Parsed[],
  ): Promise<Pick<Sifted, 'kept' | 'refusal'>> {
    for (let kept = given; ; ) {
      const taken = this.#options.requireMember(call)
      const refusal = taken instanceof Refusal ? taken : null
      const still = refusal === null ? pilesOf(call, kept).kept : []
      if (still.length === kept.length) return { kept, refusal }
      const lost = kept.filter((one) => !still.includes(one))
      kept = still
      await this.#putBack(place, lost)
    }
  }

  #handOut(
    place: LeasePlace,
    leased: readonly Parsed[],
    { hold, account }: Pick<Looking, 'hold' | 'account'>,
  ): LeasedMessages {
    for (const { message, parsed } of leased) {
      if (parsed !== null) this.#options.held.hold(message, message.sealed, parsed)
    }
    hold.keep(copies * leased.reduce((sum, { message }) => sum + message.sealed.length, 0))
    // Without the messages themselves, which are not to be kept until the response has left.
    const handles = leased.map(handleOf)
    return {
      withheld: account.withheld.size,
      deadLettered: account.deadLettered,
      messages: leased.map(({ message, attempt, leaseUntil, leaseToken, place: passedOver }) => ({
        ...{ message, attempt, leaseUntil, place: passedOver },
        leaseToken: this.#options.tokens.bind(leaseToken, place),
      })),
      hold,
      giveBack: () => this.#giveBack(place, handles),
    }
  }

  /** As it was: a receiver that leaves cannot bring forward what was passed over. */
  async #putBack(place: LeasePlace, leased: readonly Leased[]): Promise<void> {
    await this.#giveBack(place, leased.filter((one) => one.place === null).map(handleOf))
    await this.#pass(
      place,
      leased.filter((one) => one.place !== null),
    )
  }

  /** Due again at once: it was never handed over. */
  async #giveBack(place: LeasePlace, leased: readonly Handle[]): Promise<void> {
    await this.#settle(place, leased, { verdict: 'return', delayMs: 0, reason: '' })
    if (leased.length > 0) this.#waiters.wake(place.channel)
  }

  /**
   * Behind everything that was not passed over, where a receiver that is permitted more finds it.
   */
  async #pass(place: LeasePlace, leased: readonly Leased[]): Promise<void> {
    const handles = leased.map((one) => ({ ...handleOf(one), place: one.place }))
    await this.#settle(place, handles, { verdict: 'pass', delayMs: 0, reason: '' })
    // Those who have seen it before need not look again.
    if (leased.some((one) => one.place === null)) this.#waiters.wake(place.channel)
  }

  async #settle(
    { channel, group }: LeasePlace,
    leased: readonly Handle[],
    as: Pick<Settle, 'verdict' | 'delayMs' | 'reason'>,
  ): Promise<void> {
    if (leased.length === 0) return
    const now = this.#options.clock.now()
    await this.#options.store.settle(
      leased.map((each) => ({ channel, group, now, ...as, ...each })),
    )
  }
}

type Handle = Pick<Settle, 'offset' | 'leaseToken' | 'place'>

/** Without the message itself. */
function handleOf({ message: { offset }, leaseToken }: Leased): Handle {
  return { offset, leaseToken }
}

function byOffset(a: Leased, b: Leased): number {
  return a.message.offset - b.message.offset
}

interface SenderAccount {
  readonly withheld: Set<number>
  readonly deadLettered: number[]
}

interface Looking {
  readonly hold: Hold
  readonly signal: AbortSignal | null
  readonly account: SenderAccount
  /**
   * Maximum number of messages that it takes; the receiver gets those that it may have and asked
   * for.
   */
  readonly wide: number
}

/** With the message as it was parsed, once for all that is asked of it; null if it cannot be. */
interface Parsed extends Leased {
  readonly parsed: SealedMessage | null
}

interface Sifted {
  readonly kept: readonly Parsed[]
  /** Number of messages that may not be handed over now, or never. */
  readonly passed: number
  readonly isGone: boolean
  readonly refusal: Refusal | null
}

/** Of one moment: the same labels are decided on once, however many messages bear them. */
export function decidedOnce(call: SettlerCall): SettlerCall['mayReceive'] {
  const decided = new Map<string, boolean>()
  return (labels) => {
    const key = labels.join('\n')
    const known = decided.get(key) ?? call.mayReceive(labels)
    decided.set(key, known)
    return known
  }
}

type Pile = 'kept' | 'back' | 'held' | 'dead'

function pilesOf(
  call: ReceiverCall,
  leased: readonly Parsed[],
): Readonly<Record<Pile, readonly Parsed[]>> {
  const piles: Record<Pile, Parsed[]> = { kept: [], back: [], held: [], dead: [] }
  const mayReceive = decidedOnce(call)
  for (const one of leased) piles[pileOf(call, one, mayReceive)].push(one)
  return piles
}

/**
 * Sorted by the header that the sender signed. A message that cannot be parsed was never published
 * through here.
 */
function pileOf(
  call: ReceiverCall,
  { message: { storedAt }, parsed }: Parsed,
  mayReceive: ReceiverCall['mayReceive'],
): Pile {
  if (parsed === null) return 'back'
  const { channel, sender, labels } = parsed.header
  const right = call.senderRight({ channel, sender, labels, storedAt })
  if (right === 'ended') return 'dead'
  if (right === 'held') return 'held'
  return mayReceive(labels) ? 'kept' : 'back'
}
