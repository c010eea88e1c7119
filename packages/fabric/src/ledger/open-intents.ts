import { Shares } from '../lib/limits.ts'
import { closesExchange } from './exchange-index.ts'
import type { EntryDraft, EntryPurpose, OpenIntent } from './ledger.ts'
import type { LedgerLimits } from './limits.ts'
import type { SpacePurpose } from './space-guard.ts'
import type { Subject } from './subjects.ts'
import { LedgerBusy } from './unavailable.ts'

/**
 * Gives whose share an entry counts against: the connector that recorded it, or the caller at the
 * gateway or of a channel. Empty for an unauthenticated client; all of those share one share.
 */
export function ownerOf({ facts }: Pick<EntryDraft, 'facts'>): string {
  const owner = facts['producer'] ?? facts['caller']
  return typeof owner === 'string' ? owner : ''
}

interface HeldIntent extends OpenIntent {
  readonly owner: string
  /** Of the intent: the entry that closes it can be opened as long as the intent can. */
  readonly subjects: readonly Subject[]
  /** Monotonic milliseconds. */
  readonly since: number
}

type Bounds = Pick<LedgerLimits, 'openIntentsMax' | 'openIntentsPerOwnerMax' | 'openIntentMs'>

/**
 * Intents of this process that nothing has closed. Each is work for the next start if the process
 * dies now, so their number is bounded in total and per owner, and their age by `openIntentMs`.
 */
export class OpenIntentTable {
  readonly #bounds: Bounds
  readonly #shares: Shares
  /** Oldest first. */
  readonly #intents = new Map<string, HeldIntent>()

  constructor(bounds: Bounds) {
    this.#bounds = bounds
    this.#shares = new Shares(bounds.openIntentsMax, bounds.openIntentsPerOwnerMax)
  }

  get total(): number {
    return this.#shares.total
  }

  get largest(): number {
    return this.#shares.largest
  }

  find(exchange: string): OpenIntent | null {
    return this.#intents.get(exchange) ?? null
  }

  /** Throws LedgerBusy when the owner has as many open exchanges as it may have. */
  assertSpace(owner: string): void {
    if (this.#shares.hasSpace(owner)) return
    const { openIntentsMax, openIntentsPerOwnerMax } = this.#bounds
    const ofOwner = this.#shares.share === openIntentsPerOwnerMax
    const limit = ofOwner
      ? ({ name: 'limits.openExchanges', value: openIntentsPerOwnerMax } as const)
      : ({ name: 'ledger.openExchanges', value: openIntentsMax } as const)
    const whose = ofOwner ? 'this caller has' : 'all callers together have'
    throw new LedgerBusy({ ...limit, unit: 'count' }, `${whose} too many exchanges under way`)
  }

  add(
    draft: Pick<EntryDraft, 'exchange' | 'facts'>,
    now: number,
    subjects: readonly Subject[] = [],
  ): void {
    const owner = ownerOf(draft)
    const { producer, 'request.signature': signature } = draft.facts
    this.#intents.set(draft.exchange, {
      ...{ owner, subjects },
      producer: typeof producer === 'string' ? producer : null,
      requestSignature: signature instanceof Uint8Array ? signature : null,
      since: now,
    })
    this.#shares.take(owner)
  }

  /** The subjects of an entry: what closes an exchange opens as long as its intent does. */
  withIntent({ exchange, kind }: EntryDraft, named: readonly Subject[]): readonly Subject[] {
    const inherited = closesExchange(kind) ? this.#intents.get(exchange)?.subjects : undefined
    const more = inherited?.filter((each) => !named.includes(each)) ?? []
    return more.length === 0 ? named : [...named, ...more]
  }

  /** Exchanges whose intent names one of `subjects`. */
  countOf(subjects: readonly Subject[]): number {
    let count = 0
    for (const intent of this.#intents.values()) {
      if (intent.subjects.some((each) => subjects.includes(each))) count += 1
    }
    return count
  }

  remove(exchange: string): void {
    const intent = this.#intents.get(exchange)
    if (intent === undefined) return
    this.#intents.delete(exchange)
    this.#shares.give(intent.owner)
  }

  /** Exchanges that have been open for longer than `openIntentMs`, oldest first. */
  *tooOld(now: number): Generator<string> {
    for (const [exchange, { since }] of this.#intents) {
      if (now - since <= this.#bounds.openIntentMs) return
      yield exchange
    }
  }
}

/** For an entry that must not wait, and is taken whatever its parties are. */
export function isTaken(draft: EntryDraft): boolean {
  return closesIntent(draft) || draft.purpose === 'lifecycle'
}

/** Reports whether an entry can only follow an intent; a refusal can stand alone. */
export function closesIntent({ kind }: Pick<EntryDraft, 'kind'>): boolean {
  return kind === 'outcome' || kind === 'indeterminate'
}

/** The space that an entry of this purpose needs; null for one that begins an exchange. */
export function spaceOf(purpose: EntryPurpose | null): SpacePurpose {
  if (purpose === null) return 'opening'
  return purpose === 'oversight' ? 'oversight' : 'reserved'
}
