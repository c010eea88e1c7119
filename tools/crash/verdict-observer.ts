import { SeenHeads } from './seen-heads.ts'

export const TRANSPORTS = ['gateway', 'mesh', 'queue'] as const
export type Transport = (typeof TRANSPORTS)[number]

export interface AcknowledgedExchange {
  readonly transport: Transport
  readonly exchange: string
  /** The action of the client, in words, for the report of a loss. */
  readonly what: string
}

export interface HandedExchange {
  readonly transport: Transport
  readonly exchange: string
  readonly call: string
}

/** A message of the load: `n` counts per ordering key, from 1, without gaps. */
export interface LoadMessage {
  readonly key: string
  readonly n: number
}

/**
 * The observations from outside of the fabric, over all its crashes. Each is written down the
 * moment it is seen, so that what counts is exactly what a client could rely on.
 */
export class Observer {
  /** Since the last round; `takeAcknowledged` empties it. */
  #acknowledged: AcknowledgedExchange[] = []
  #handed: HandedExchange[] = []
  /** Contradictions that show at once, without asking the fabric. */
  readonly violations: string[] = []
  /** The checkpoints of every receipt and every publication, over all lives. */
  readonly heads = new SeenHeads()

  /**
   * By call: how often a receiver was handed it. A call is made once, so it arrives once at most.
   */
  readonly #calls = new Map<string, string>()
  /**
   * By ordering key: the last `n` that a send was begun for, and the last that was acknowledged.
   */
  readonly #begun = new Map<string, number>()
  readonly #sent = new Map<string, number>()
  /** By key and n: the message's id, and whether its settlement was acknowledged. */
  readonly #received = new Map<string, { readonly messageId: string; settled: boolean }>()
  /** By ordering key: the last `n` that was received. */
  readonly #progress = new Map<string, number>()
  /**
   * Stored and never received, while a later one of the same key was: each has to be a dead letter.
   */
  readonly #skipped = new Set<string>()
  readonly #byOffset = new Map<number, string>()

  readonly totals: Record<Transport, number> = { gateway: 0, mesh: 0, queue: 0 }
  messages = 0

  acknowledge(transport: Transport, exchange: string | null, what: string): void {
    if (exchange === null) {
      this.violations.push(`${what} was acknowledged without naming its exchange`)
      return
    }
    this.totals[transport] += 1
    this.#acknowledged.push({ transport, exchange, what })
  }

  receiveReceipt(receipt: Uint8Array): void {
    try {
      this.heads.seeReceipt(receipt)
    } catch (cause) {
      this.violations.push(String(cause))
    }
  }

  hand(transport: Transport, exchange: string | undefined, call: string): void {
    if (exchange === undefined) {
      this.violations.push(`${transport}: call ${call} was delivered without naming its exchange`)
      return
    }
    const before = this.#calls.get(call)
    if (before !== undefined) {
      this.violations.push(`${transport}: call ${call} was delivered twice: ${before}, ${exchange}`)
    }
    this.#calls.set(call, exchange)
    this.#handed.push({ transport, exchange, call })
  }

  begin({ key, n }: LoadMessage): void {
    this.#begun.set(key, n)
  }

  send({ key, n }: LoadMessage, offset: number): void {
    const name = `${key}/${n}`
    const before = this.#byOffset.get(offset)
    if (before !== undefined) {
      this.violations.push(`offset ${offset} was acknowledged for ${before} and for ${name}`)
    }
    this.#byOffset.set(offset, name)
    this.#sent.set(key, n)
    this.messages += 1
  }

  /**
   * Received messages may be more than the acknowledged ones, but never more than the sent ones.
   */
  receive({ key, n }: LoadMessage, messageId: string): void {
    const name = `message ${key}/${n}`
    if (n > (this.#begun.get(key) ?? 0)) {
      this.violations.push(`${name} was received and never sent`)
    }
    const known = this.#received.get(`${key}/${n}`)
    if (known === undefined) this.#received.set(`${key}/${n}`, { messageId, settled: false })
    else if (known.messageId !== messageId) {
      this.violations.push(`${name} is stored twice: ${known.messageId} and ${messageId}`)
    } else if (known.settled) {
      this.violations.push(`${name} came again after its settlement was acknowledged`)
    }
    const last = this.#progress.get(key) ?? 0
    if (n < last) this.violations.push(`${name} came after ${key}/${last}`)
    for (let skipped = last + 1; skipped < n; skipped++) this.#skipped.add(`${key}/${skipped}`)
    this.#progress.set(key, Math.max(n, last))
  }

  settle({ key, n }: LoadMessage): void {
    const known = this.#received.get(`${key}/${n}`)
    if (known !== undefined) known.settled = true
  }

  /** A message may be given up after its last attempt, and for no other reason. */
  deadLetter({ offset, reason }: { readonly offset: number; readonly reason: string }): void {
    const name = this.#byOffset.get(offset)
    if (name === undefined) return
    if (reason !== 'ATTEMPTS_EXHAUSTED') {
      this.violations.push(`message ${name} became a dead letter: ${reason}`)
    }
    this.#skipped.delete(name)
  }

  /** Passed over for good: a later one of the same key was given out before them. */
  get skipped(): readonly string[] {
    return [...this.#skipped]
  }

  /** Acknowledged sends that no receiver has seen. */
  missing(): readonly string[] {
    return [...this.#sent].flatMap(([key, sent]) => {
      const received = this.#progress.get(key) ?? 0
      return sent > received ? [`${key}/${received + 1} to ${key}/${sent}`] : []
    })
  }

  takeAcknowledged(): readonly AcknowledgedExchange[] {
    const taken = this.#acknowledged
    this.#acknowledged = []
    return taken
  }

  takeHanded(): readonly HandedExchange[] {
    const taken = this.#handed
    this.#handed = []
    return taken
  }
}
