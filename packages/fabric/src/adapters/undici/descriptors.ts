import type { Socket } from 'node:net'
import type { buildConnector } from 'undici'
import { overLimit } from '../../lib/limits.ts'
import type { Refusal } from '../../lib/refusal.ts'
import { OutOfSpaceError } from '../../lib/upstream-error.ts'

const retryAfterMs = 1_000
/** The process, or the whole system, has none left. */
const exhaustedCodes: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE'])

/**
 * Counts the connections to all receivers. Over HTTP/2 one connection of a caller can need a
 * hundred of them, so that the bound on accepted connections does not keep descriptors for the
 * ledger, which ends the process when it cannot open its next file.
 */
export class Descriptors {
  readonly #max: number | null
  #open = 0
  readonly #ofReceivers = new Map<string, number>()

  /** Null where the system sets no limit. */
  constructor(max: number | null) {
    this.#max = max
  }

  /**
   * `connect`, within the bound. A connection counts from the attempt to its end. One receiver gets
   * at most as many as are left for others: it may have many endpoints, and answer at none of them.
   */
  bound(connect: buildConnector.connector, receiver: string): buildConnector.connector {
    return (target, done) => {
      const own = this.#ofReceivers.get(receiver) ?? 0
      if (this.#max !== null && own >= this.#max - this.#open) {
        return done(new OutOfSpaceError(this.#refusal('connections to receivers')), null)
      }
      this.#add(receiver, 1)
      connect(target, (...result) => {
        const [fault, socket] = result
        if (fault === null && socket !== null) this.#follow(socket, receiver)
        else this.#add(receiver, -1)
        if (fault !== null && isExhausted(fault)) {
          return done(
            new OutOfSpaceError(this.#refusal('there are no file descriptors left')),
            null,
          )
        }
        done(...result)
      })
    }
  }

  #add(receiver: string, count: 1 | -1): void {
    this.#open += count
    const own = (this.#ofReceivers.get(receiver) ?? 0) + count
    if (own === 0) this.#ofReceivers.delete(receiver)
    else this.#ofReceivers.set(receiver, own)
  }

  #follow(socket: Socket, receiver: string): void {
    if (socket.destroyed) return this.#add(receiver, -1)
    socket.once('close', () => this.#add(receiver, -1))
  }

  #refusal(detail: string): Refusal {
    const value = this.#max ?? this.#open
    const limit = { name: 'upstream.openConnections', value, unit: 'count' } as const
    return overLimit('OVERLOADED', limit, detail, retryAfterMs)
  }
}

function isExhausted(fault: Error): boolean {
  return 'code' in fault && exhaustedCodes.has(fault.code)
}
