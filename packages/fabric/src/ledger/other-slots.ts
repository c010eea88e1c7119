import { type ExchangeHolder, isHolderAddress, slotOfExchange } from '@countersign/protocol'
import { Refusal, undecided } from '../lib/refusal.ts'

/** The holder of a slot, as far as it is known. */
export interface SlotHolder {
  readonly slot: string
  readonly isHeld: boolean
  /** `https://host:port`, by which others reach the holder; empty before it listens. */
  readonly address: string
}

/** Decides whether another log has an exchange, and names the replica that can be asked. */
export interface OtherSlots {
  /**
   * Null for an exchange that this log may have, and for a slot that no process ever took: no log
   * has an exchange of it. Never rejects.
   */
  refusalOf(exchange: string): Promise<Refusal | null>
  /**
   * The address of the holder of another slot; null where there is none to ask. For unauthenticated
   * clients, so that the store is read once a second at most.
   */
  addressOf(slot: string): Promise<string | null>
}

export interface OtherSlotsOptions {
  /** The slot of this process. */
  readonly slot: string
  /** Every slot that was ever taken. */
  listHolders(): Promise<readonly SlotHolder[]>
  /** The address of this process. */
  origin(): string
  monotonic(): number
}

const addressesMs = 1_000

/**
 * A replica answers for its own log alone, and names the holder of any other: its caller asks that
 * one with its own credential. Replicas do not ask each other, so none of them has the right to
 * speak for a caller, and no request can circle between them.
 */
export function createOtherSlots(options: OtherSlotsOptions): OtherSlots {
  const { slot: own, listHolders, origin, monotonic } = options
  let holders: Promise<readonly SlotHolder[]> = Promise.resolve([])
  let readAt = Number.NEGATIVE_INFINITY
  const sharedHolders = (): Promise<readonly SlotHolder[]> => {
    const now = monotonic()
    if (now - readAt < addressesMs) return holders
    readAt = now
    holders = listHolders().catch(() => [])
    return holders
  }
  return {
    async addressOf(slot) {
      const holder = slot === own ? undefined : findIn(await sharedHolders(), slot)
      return holder === undefined ? null : addressed(holder, origin()).address
    },
    async refusalOf(exchange) {
      const slot = slotOfExchange(exchange)
      if (slot === null || slot === own) return null
      try {
        const holder = findIn(await listHolders(), slot)
        return holder === undefined ? null : elsewhere(exchange, addressed(holder, origin()))
      } catch (cause) {
        return undecided(cause)
      }
    },
  }
}

const findIn = (holders: readonly SlotHolder[], slot: string): SlotHolder | undefined =>
  holders.find((each) => each.slot === slot)

function elsewhere(exchange: string, holder: ExchangeHolder): Refusal {
  const { slot, address } = holder
  const where = address === null ? 'which no process holds at a known address' : `at ${address}`
  const detail = `${exchange} is in the log of slot ${slot}, ${where}`
  return new Refusal('EXCHANGE_ELSEWHERE', detail, null, { byOthers: true, holder })
}

/** The address of this process, as behind a shared name, would lead a caller back to it. */
function addressed({ slot, isHeld, address }: SlotHolder, own: string): ExchangeHolder {
  const isOther = isHeld && isHolderAddress(address) && address !== own
  return { slot, address: isOther ? address : null }
}
