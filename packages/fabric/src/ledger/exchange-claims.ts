import type { MeshEntry } from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'

/** The agent whose connector records, as it was authenticated. */
export interface Connector {
  readonly principal: string
  readonly name: string
}

export const isOpening = (kind: MeshEntry['kind']): boolean =>
  kind === 'intent' || kind === 'refusal'

/** Copies of the end of an exchange that are under way from its connector at once. */
const endingsLimit = { name: 'mesh.endingsAtOnce', value: 1, unit: 'count' } as const
const endingsPauseMs = 1_000

/**
 * Tracks the exchanges to which a connector may add: only the connector that recorded an intent may
 * record how it ended, and none may record an exchange in which it is not the receiver, except
 * refusals to its own agent. The ledger knows the opener of each; the exchanges of entries on their
 * way there are kept here.
 */
export class ExchangeClaims {
  readonly #openProducer: (exchange: string) => string | null
  /** Keys of entries that are being recorded. */
  readonly #held = new Set<string>()

  constructor(openProducer: (exchange: string) => string | null) {
    this.#openProducer = openProducer
  }

  /** Holds the exchange of `entry` and returns null, or returns why it cannot be recorded now. */
  hold(entry: MeshEntry, connector: Connector): Refusal | null {
    const key = keyOf(entry, connector)
    if (this.#held.has(key)) return heldRefusal(entry)
    const fault = isOpening(entry.kind) ? this.#openingFault(entry, connector) : null
    if (fault !== null) return new Refusal('NOT_PERMITTED', fault)
    this.#held.add(key)
    return null
  }

  release(entries: readonly MeshEntry[], connector: Connector): void {
    for (const entry of entries) this.#held.delete(keyOf(entry, connector))
  }

  /**
   * An outcome may come too late from an honest connector: its exchange was open for so long that
   * the fabric closed it, or the fabric was restarted. Only that entry is refused.
   */
  closingFault({ kind, exchange }: MeshEntry, connector: Connector): string | null {
    return isOpening(kind) || this.#openProducer(exchange) === connector.principal
      ? null
      : `${exchange} is not open at ${connector.name}`
  }

  #openingFault({ kind, exchange, facts }: MeshEntry, connector: Connector): string | null {
    if (this.#openProducer(exchange) !== null) return `${exchange} is open already`
    const isOwnRefusal = kind === 'refusal' && facts['caller'] === connector.principal
    return isOwnRefusal || facts['receiver'] === connector.name
      ? null
      : `${connector.name} is not the receiver of ${exchange}`
  }
}

/**
 * One connector opens an exchange. Its right to close it is checked later, so that the end of an
 * exchange is held for its connector: another one, which reads the exchange's id in the public log,
 * must not keep it from being recorded.
 */
function keyOf({ kind, exchange }: MeshEntry, { principal }: Connector): string {
  return isOpening(kind) ? exchange : `${principal} ${exchange}`
}

/** The end of an exchange is sent again after a limit; the one on its way can still fail. */
function heldRefusal({ kind, exchange }: MeshEntry): Refusal {
  const detail = `${exchange} is being recorded`
  return isOpening(kind)
    ? new Refusal('NOT_PERMITTED', detail)
    : overLimit('OVERLOADED', endingsLimit, detail, endingsPauseMs)
}
