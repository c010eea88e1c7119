import { equalBytes, type Limit, toHex } from '@countersign/protocol'
import { z } from 'zod'
import { Serializer } from '../concurrency/serializer.ts'
import { hmacSha256 } from '../lib/hmac.ts'
import type { Projection } from '../state/projection.ts'
import type { StateStream } from '../state/state-stream.ts'
import type { Erased, Ledger } from './ledger.ts'
import { LedgerBusy } from './unavailable.ts'

/**
 * The request to erase a subject, which each slot carries out. It has an HMAC in place of the name,
 * so that neither the row nor its history names the subject.
 */
interface ErasureRow {
  readonly subject: Uint8Array
  /** HMAC of who asked for it. */
  readonly owner: Uint8Array
  /** Slots that have yet to carry it out. */
  readonly pending: readonly string[]
}

export interface ErasuresParts {
  readonly state: Pick<StateStream, 'project' | 'commit'>
  readonly ledger: Pick<Ledger, 'erase' | 'assertErasable' | 'slot'>
  /** 32 bytes, the same for every slot. */
  readonly key: Uint8Array
  readonly log: (event: string, facts: Readonly<Record<string, string | number>>) => void
}

/** Anything of this process that has facts of entries apart from the log. */
export interface DerivedCopy {
  /** On resolve nothing of the subject is left, in memory and on disk; may be called again. */
  forget(isSubject: (name: string) => boolean): Promise<void>
}

export interface ErasureOrder {
  /** `subjectName` of the subject. */
  readonly name: string
  /** The principal that asks for it. */
  readonly owner: string
  /** The exchange of the operation, by which the row is known. */
  readonly exchange: string
  /** Every slot that may have entries. */
  readonly slots: readonly string[]
}

/** An erasure, as far as it has come. */
export interface ErasureState extends Erased {
  readonly pending: readonly string[]
}

/** Requests that some slot has yet to carry out. */
const erasuresLimit = {
  name: 'ledger.erasures',
  value: 1_024,
  unit: 'count',
} as const satisfies Limit
/** Of one administrator, so that others can ask for theirs while a slot is away. */
const erasuresPerOwnerLimit = {
  name: 'ledger.erasuresPerOwner',
  value: 256,
  unit: 'count',
} as const satisfies Limit
/** Between two attempts, where exchanges of the subject are under way, or the last one failed. */
const retryMs = 5_000

const hash = z.string().regex(/^[0-9a-f]{64}$/)
const rowSchema = z.strictObject({
  subject: hash,
  owner: hash,
  pending: z.array(z.string()),
})

/**
 * Carries out the erasures that the state asks of this slot, one after the other: those that are
 * open at the start before anything is served, and those that come later at once.
 */
export class Erasures {
  readonly #parts: ErasuresParts
  readonly #rows: Projection<ErasureRow>
  readonly #work = new Serializer()
  /** Of the requests of this process, until their operation is answered. */
  readonly #done = new Map<string, Erased>()
  /** Erased in the log of this slot by this process, and not confirmed yet. */
  readonly #erased = new Map<string, Erased>()
  /** Null until they are open. */
  #copies: readonly DerivedCopy[] | null = null
  #timer: ReturnType<typeof setTimeout> | null = null
  #isClosed = false

  private constructor(parts: ErasuresParts) {
    this.#parts = parts
    this.#rows = parts.state.project<ErasureRow>({
      table: 'erasures',
      parse: parseRow,
      format: ({ subject, owner, pending }) =>
        JSON.stringify({ subject: toHex(subject), owner: toHex(owner), pending }),
    })
    this.#rows.onChange(() => this.#poke())
  }

  /**
   * Rejects where an open erasure cannot be carried out in the log: the slot does not serve before
   * it is. None is confirmed before `cover`.
   */
  static async open(parts: ErasuresParts): Promise<Erasures> {
    const erasures = new Erasures(parts)
    await erasures.#carryOut()
    return erasures
  }

  /**
   * From now on an erasure covers `copies` too. Resolves once they have forgotten the subjects of
   * those that are open; rejects where one cannot: the slot does not serve then.
   */
  async cover(copies: readonly DerivedCopy[]): Promise<void> {
    this.#copies = copies
    await this.#carryOut()
  }

  /**
   * Records the request, for every slot, and carries it out for this one. Rejects with LedgerBusy
   * where too many wait for slots that are away, or too many subjects were erased here; a request
   * that is recorded is carried out.
   */
  async begin({ name, owner, exchange, slots }: ErasureOrder): Promise<ErasureState> {
    this.#parts.ledger.assertErasable()
    const row = { subject: this.#hash(name), owner: this.#hash(owner), pending: slots }
    this.#done.set(exchange, { entries: 0, underWay: 0 })
    try {
      await this.#parts.state.commit(() => {
        this.#assertSpace(row.owner)
        return [this.#rows.change(exchange, row)]
      })
      await this.#carryOut()
      const pending = this.#rows.find(exchange)?.pending ?? []
      return { ...(this.#done.get(exchange) ?? { entries: 0, underWay: 0 }), pending }
    } finally {
      this.#done.delete(exchange)
    }
  }

  #assertSpace(owner: Uint8Array): void {
    let own = 0
    for (const [, row] of this.#rows.entries()) if (equalBytes(row.owner, owner)) own += 1
    const reached =
      own >= erasuresPerOwnerLimit.value
        ? erasuresPerOwnerLimit
        : this.#rows.size >= erasuresLimit.value && erasuresLimit
    if (reached === false) return
    throw new LedgerBusy(reached, 'too many erasures wait for slots that are away')
  }

  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#work.run(() => Promise.resolve())
  }

  /** For requests of other processes, and for what could not be carried out before. */
  #poke(): void {
    this.#carryOut().catch((cause: unknown) => {
      this.#parts.log('an erasure is not carried out yet', { error: String(cause) })
      this.#retry()
    })
  }

  #retry(): void {
    if (this.#timer !== null || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#poke()
    }, retryMs).unref()
  }

  #carryOut(): Promise<void> {
    return this.#work.run(async () => {
      for (const [exchange, { subject, pending }] of this.#rows.entries()) {
        if (this.#isClosed) return
        if (pending.includes(this.#parts.ledger.slot)) await this.#carryOutOne(exchange, subject)
      }
    })
  }

  async #carryOutOne(exchange: string, subject: Uint8Array): Promise<void> {
    const { ledger, log } = this.#parts
    const isSubject = (name: string): boolean => equalBytes(this.#hash(name), subject)
    const erased = this.#erased.get(exchange) ?? (await ledger.erase({ exchange, isSubject }))
    if (this.#done.has(exchange)) this.#done.set(exchange, erased)
    if (erased.underWay > 0) return this.#retry()
    this.#erased.set(exchange, erased)
    if (this.#copies === null) return
    for (const copy of this.#copies) await copy.forget(isSubject)
    await this.#confirm(exchange)
    this.#erased.delete(exchange)
    log('a subject was erased', { entries: erased.entries, exchange })
  }

  /** The last slot removes the row. */
  async #confirm(exchange: string): Promise<void> {
    await this.#parts.state.commit(() => {
      const row = this.#rows.find(exchange)
      if (row === null) return null
      const pending = row.pending.filter((slot) => slot !== this.#parts.ledger.slot)
      return [this.#rows.change(exchange, pending.length === 0 ? null : { ...row, pending })]
    })
  }

  #hash(name: string): Uint8Array {
    return hmacSha256(this.#parts.key, Buffer.from(name))
  }
}

function parseRow(_key: string, text: string): ErasureRow {
  const { subject, owner, pending } = rowSchema.parse(JSON.parse(text))
  return { subject: Buffer.from(subject, 'hex'), owner: Buffer.from(owner, 'hex'), pending }
}
