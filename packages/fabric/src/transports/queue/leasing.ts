import { type LeaseRequest, parseSealedMessage } from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { StillPermitted } from '../../pipeline/delivery.ts'
import type { ChannelStore, Leased, Settle } from './channel-store.ts'
import type { HeldMessages } from './held-messages.ts'
import { copies, type Hold, type LeaseMemory } from './lease-memory.ts'
import type { LeasePlace, LeaseTokens } from './lease-tokens.ts'
import { LeaseWaiters } from './lease-waiters.ts'

/** While a request is held open, leases of others run out and delays pass: it looks this often. */
const lookAgainMs = 1000
/** Times that one request looks behind messages which its receiver may not have, before it waits. */
const passedOverMax = 8
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
}

/** What was leased, and how to put it back when it cannot be handed over after all. */
export interface LeasedMessages {
  readonly messages: readonly Leased[]
  /** To be told of the response's size once the messages are in it, and released when it has left. */
  readonly hold: Hold
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
    for (let passedOver = 0; ; ) {
      const hold = await this.#options.memory.reserve(call.caller, leaseBytesMax)
      if (hold instanceof Refusal) return hold
      const found = await this.#look(call, { group, count, leaseMs }, { hold, signal }).catch(
        (cause: unknown) => {
          hold.release()
          throw cause
        },
      )
      if (found instanceof Refusal || found.kept.length === 0) hold.release()
      if (found instanceof Refusal) return found
      const { place, kept, returned } = found
      if (returned > 0) passedOver++
      const left = endsAt - clock.monotonic()
      if (kept.length > 0 || left <= 0 || this.#closing || signal?.aborted === true) {
        return this.#handOut(place, kept, hold)
      }
      // Others may wait behind those that were passed over, but not without end.
      if (returned > 0 && passedOver < passedOverMax) continue
      const waiter = { channel: place.channel, identity: call.caller }
      const waited = await this.#waiters.wait(waiter, Math.min(left, lookAgainMs), signal)
      if (!waited) return this.#handOut(place, [], hold)
    }
  }

  /** What there is for this receiver now, and no more than there is room for. */
  async #look(
    call: ReceiverCall,
    { group, count, leaseMs }: Pick<LeaseRequest, 'group' | 'count' | 'leaseMs'>,
    { hold, signal }: { readonly hold: Hold; readonly signal: AbortSignal | null },
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
    const sifted = await this.#sift(call, place, { leased, signal })
    return sifted.refusal ?? { ...sifted, place }
  }

  /** Keeps what the receiver may have at this moment, and puts the rest back. */
  async #sift(
    call: ReceiverCall,
    place: LeasePlace,
    { leased, signal }: { readonly leased: readonly Leased[]; readonly signal: AbortSignal | null },
  ): Promise<Sifted> {
    const taken = this.#options.takePart(call)
    const refusal = taken instanceof Refusal ? taken : null
    const isGone = refusal !== null || signal?.aborted === true
    const kept = isGone ? [] : leased.filter(({ message }) => mayHave(call, message.sealed))
    const back = leased.filter((one) => !kept.includes(one))
    // A receiver that is permitted more gets at them at once; this one looks past them for a moment.
    const handles = back.map(({ message, leaseToken }) => ({ offset: message.offset, leaseToken }))
    await this.#giveBack(place, handles, isGone ? 0 : lookAgainMs)
    return { kept, returned: back.length, refusal }
  }

  #handOut(place: LeasePlace, leased: readonly Leased[], hold: Hold): LeasedMessages {
    for (const { message } of leased) this.#options.held.hold(message, message.sealed)
    hold.keep(copies * leased.reduce((sum, { message }) => sum + message.sealed.length, 0))
    // Without the messages themselves, which are not to be kept until the response has left.
    const handles = leased.map(({ message: { offset }, leaseToken }) => ({ offset, leaseToken }))
    return {
      messages: leased.map((one) => ({
        ...one,
        leaseToken: this.#options.tokens.bind(one.leaseToken, place),
      })),
      hold,
      giveBack: () => this.#giveBack(place, handles, 0),
    }
  }

  async #giveBack(
    { channel, group }: LeasePlace,
    leased: readonly Pick<Settle, 'offset' | 'leaseToken'>[],
    delayMs: number,
  ): Promise<void> {
    if (leased.length === 0) return
    const now = this.#options.clock.now()
    const common = { channel, group, now, verdict: 'return', delayMs, reason: '' } as const
    await this.#options.store.settle(
      leased.map(({ offset, leaseToken }) => ({ ...common, offset, leaseToken })),
    )
    this.#waiters.wake(channel)
  }
}

interface Sifted {
  readonly kept: readonly Leased[]
  readonly returned: number
  readonly refusal: Refusal | null
}

/** By the labels that the sender signed. What cannot be read was never published through here. */
function mayHave(call: ReceiverCall, sealed: Uint8Array): boolean {
  const message = parseSealedMessage(sealed)
  return message !== null && call.mayReceive(message.header.labels)
}
