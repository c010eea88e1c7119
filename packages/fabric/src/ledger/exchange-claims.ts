import type { MeshEntry } from '@countersign/protocol'

/** The agent whose connector records, as it was authenticated. */
export interface Connector {
  readonly spiffeId: string
  readonly name: string
}

export const isOpening = (kind: MeshEntry['kind']): boolean =>
  kind === 'intent' || kind === 'refusal'

/**
 * Tracks the exchanges to which a connector may add: only the connector that recorded an intent may
 * record how it ended, and none may record an exchange in which it is not the receiver, except
 * refusals to its own agent. The ledger knows the opener of each; the exchanges of entries on their
 * way there are kept here.
 */
export class ExchangeClaims {
  readonly #openProducer: (exchange: string) => string | null
  /** Exchanges of entries that are being recorded. */
  readonly #held = new Set<string>()

  constructor(openProducer: (exchange: string) => string | null) {
    this.#openProducer = openProducer
  }

  /**
   * Holds the exchange of `entry` and returns null, or returns why no honest connector sends it.
   */
  hold(entry: MeshEntry, connector: Connector): string | null {
    const fault = this.#fault(entry, connector)
    if (fault === null) this.#held.add(entry.exchange)
    return fault
  }

  release(entries: readonly MeshEntry[]): void {
    for (const { exchange } of entries) this.#held.delete(exchange)
  }

  /**
   * An outcome may come too late from an honest connector: its exchange was open for so long that
   * the fabric closed it, or the fabric was restarted. Only that entry is refused.
   */
  closingFault({ kind, exchange }: MeshEntry, connector: Connector): string | null {
    return isOpening(kind) || this.#openProducer(exchange) === connector.spiffeId
      ? null
      : `${exchange} is not open at ${connector.name}`
  }

  #fault({ kind, exchange, facts }: MeshEntry, connector: Connector): string | null {
    if (this.#held.has(exchange)) return `${exchange} is being recorded`
    if (!isOpening(kind)) return null
    if (this.#openProducer(exchange) !== null) return `${exchange} is open already`
    const isOwnRefusal = kind === 'refusal' && facts['caller'] === connector.spiffeId
    return isOwnRefusal || facts['receiver'] === connector.name
      ? null
      : `${connector.name} is not the receiver of ${exchange}`
  }
}
