import { type LeaseRequest, parseSealedMessage } from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { StillPermitted } from '../../pipeline/delivery.ts'
import type { SenderRight, SentMessage } from '../../pipeline/sender-right.ts'
import type { ChannelStore, Leased, Settle } from './channel-store.ts'
import type { HeldMessages } from './held-messages.ts'
import { copies, type Hold, type LeaseMemory } from './lease-memory.ts'
import type { LeasePlace, LeaseTokens } from './lease-tokens.ts'
import { LeaseWaiters } from './lease-waiters.ts'

/** While a request is held open, leases of others run out and delays pass: it looks this often. */
const lookAgainMs = 1000
/** Times that one request looks behind messages which its receiver may not have, before it waits. */
const passedOverMax = 8
/** Messages of a sender without its right are looked at again after this, and do not count as often. */
const heldMs = 10_000
const heldLooksMax = 64
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

/** A call that takes messages: each of them is decided on by its own labels. */
export interface ReceiverCall extends ChannelCall {
  mayReceive(labels: readonly string[]): boolean
  /** Whether the sender of a message may still publish it. */
  senderRight(message: SentMessage): SenderRight
}

/** What was leased, and how to put it back when it cannot be handed over after all. */
export interface LeasedMessages {
  readonly messages: readonly Leased[]
  /** To be told of the response's size once the messages are in it, and released when it has left. */
  readonly hold: Hold
  /** How many were held back, since their senders may not publish them at present. */
  readonly withheld: number
  /** Offsets that became dead letters, since their senders were revoked; the first of them. */
  readonly buried: readonly number[]
  giveBack(): Promise<void>
}

interface LeasingOptions {
  readonly store: Pick<ChannelStore, 'lease' | 'settle'>
  readonly clock: Clock
  readonly memory: LeaseMemory
  readonly held: HeldMessages
  readonly tokens: LeaseTokens
  /** The channel's name, while its caller has a part in it. */
  takePart(call: ChannelCall): string | Refusal
}

/** Hands out messages to receivers, who wait for them, and takes back what they may not have. */
export class Leasing {
  readonly #options: LeasingOptions
  readonly #waiters = new LeaseWaiters()
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
   * At most `waitMs` long; empty when there was nothing. `signal` fires when the receiver is gone.
   * What this receiver may not have goes back unharmed: it is due again, and no attempt was counted.
   */
  async lease(
    call: ReceiverCall,
    { group, count, leaseMs, waitMs }: LeaseRequest,
    signal: AbortSignal | null = null,
  ): Promise<LeasedMessages | Refusal> {
    const { clock } = this.#options
    const endsAt = clock.monotonic() + waitMs
    const account: SenderAccount = { withheld: 0, buried: [] }
    for (let [passedOver, heldLooks] = [0, 0]; ; ) {
      const hold = await this.#options.memory.reserve(call.caller, leaseBytesMax)
      if (hold instanceof Refusal) return hold
      const found = await this.#look(
        call,
        { group, count, leaseMs },
        { hold, signal, account },
      ).catch((cause: unknown) => {
        hold.release()
        throw cause
      })
      if (found instanceof Refusal || found.kept.length === 0) hold.release()
      if (found instanceof Refusal) return found
      const { place, kept, returned, ofSenders } = found
      if (returned > 0) passedOver++
      if (ofSenders > 0) heldLooks++
      const left = endsAt - clock.monotonic()
      if (kept.length > 0 || left <= 0 || this.#closing || signal?.aborted === true) {
        return this.#handOut(place, kept, { hold, account })
      }
      // Others may wait behind those that were passed over, but not without end.
      if (returned > 0 && passedOver < passedOverMax) continue
      // A sender that flooded the channel before it lost its right must not hide what others sent.
      if (ofSenders > 0 && heldLooks < heldLooksMax) continue
      heldLooks = 0
      const waiter = { channel: place.channel, identity: call.caller }
      const waited = await this.#waiters.wait(waiter, Math.min(left, lookAgainMs), signal)
      if (!waited) return this.#handOut(place, [], { hold, account })
    }
  }

  /** What there is for this receiver now, and no more than there is room for. */
  async #look(
    call: ReceiverCall,
    { group, count, leaseMs }: Pick<LeaseRequest, 'group' | 'count' | 'leaseMs'>,
    { hold, signal, account }: Looking,
  ): Promise<(Sifted & { readonly place: LeasePlace }) | Refusal> {
    // Asked anew each time: a receiver that was removed while it waited gets nothing.
    const taken = this.#options.takePart(call)
    if (taken instanceof Refusal) return taken
    const place = { channel: taken, group, caller: call.caller }
    const now = this.#options.clock.now()
    const bytesMax = Math.min(hold.readBytesMax, leaseBytesMax)
    const leased = await this.#options.store.lease({
      ...{ channel: place.channel, group, countMax: count, bytesMax, now, leaseMs },
    })
    const sifted = await this.#sift(call, place, { leased, signal, account })
    return sifted.refusal ?? { ...sifted, place }
  }

  /** Keeps what the receiver may have at this moment, and puts the rest back or buries it. */
  async #sift(
    call: ReceiverCall,
    place: LeasePlace,
    { leased, signal, account }: Omit<Looking, 'hold'> & { readonly leased: readonly Leased[] },
  ): Promise<Sifted> {
    const taken = this.#options.takePart(call)
    const refusal = taken instanceof Refusal ? taken : null
    const isGone = refusal !== null || signal?.aborted === true
    const piles = isGone ? { back: leased, kept: [], held: [], dead: [] } : pilesOf(call, leased)
    const { kept, back, held, dead } = piles
    // A receiver that is permitted more gets at them at once; this one looks past them for a moment.
    await this.#giveBack(place, handlesOf(back), isGone ? 0 : lookAgainMs)
    await this.#giveBack(place, handlesOf(held), heldMs)
    await this.#settle(place, handlesOf(dead), {
      ...{ verdict: 'dead', delayMs: 0, reason: 'its sender was revoked' },
    })
    account.withheld += held.length
    account.buried.push(...dead.map(({ message: { offset } }) => offset))
    account.buried.splice(deadShownMax)
    return { kept, returned: back.length, ofSenders: held.length + dead.length, refusal }
  }

  #handOut(
    place: LeasePlace,
    leased: readonly Leased[],
    { hold, account }: Pick<Looking, 'hold' | 'account'>,
  ): LeasedMessages {
    for (const { message } of leased) this.#options.held.hold(message, message.sealed)
    hold.keep(copies * leased.reduce((sum, { message }) => sum + message.sealed.length, 0))
    // Without the messages themselves, which are not to be kept until the response has left.
    const handles = handlesOf(leased)
    return {
      ...account,
      messages: leased.map((one) => ({
        ...one,
        leaseToken: this.#options.tokens.bind(one.leaseToken, place),
      })),
      hold,
      giveBack: () => this.#giveBack(place, handles, 0),
    }
  }

  async #giveBack(place: LeasePlace, leased: readonly Handle[], delayMs: number): Promise<void> {
    await this.#settle(place, leased, { verdict: 'return', delayMs, reason: '' })
    if (leased.length > 0) this.#waiters.wake(place.channel)
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

type Handle = Pick<Settle, 'offset' | 'leaseToken'>

/** Without the messages themselves. */
function handlesOf(leased: readonly Leased[]): readonly Handle[] {
  return leased.map(({ message: { offset }, leaseToken }) => ({ offset, leaseToken }))
}

interface SenderAccount {
  withheld: number
  readonly buried: number[]
}

interface Looking {
  readonly hold: Hold
  readonly signal: AbortSignal | null
  readonly account: SenderAccount
}

interface Sifted {
  readonly kept: readonly Leased[]
  readonly returned: number
  /** Held or buried, because of those who sent them. */
  readonly ofSenders: number
  readonly refusal: Refusal | null
}

type Pile = 'kept' | 'back' | 'held' | 'dead'

function pilesOf(
  call: ReceiverCall,
  leased: readonly Leased[],
): Readonly<Record<Pile, readonly Leased[]>> {
  const piles: Record<Pile, Leased[]> = { kept: [], back: [], held: [], dead: [] }
  for (const one of leased) piles[pileOf(call, one)].push(one)
  return piles
}

/** By what the sender signed. What cannot be read was never published through here. */
function pileOf(call: ReceiverCall, { message: { sealed, storedAt } }: Leased): Pile {
  const message = parseSealedMessage(sealed)
  if (message === null) return 'back'
  const { channel, sender, labels } = message.header
  const right = call.senderRight({ channel, sender, labels, storedAt })
  if (right === 'ended') return 'dead'
  if (right === 'held') return 'held'
  return call.mayReceive(labels) ? 'kept' : 'back'
}
