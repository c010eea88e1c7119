import type { Socket } from 'node:net'
import type { buildConnector } from 'undici'
import { overLimit } from '../../lib/limits.ts'
import type { Refusal } from '../../lib/refusal.ts'
import { NoRoomError } from '../../lib/upstream-error.ts'

const retryAfterMs = 1_000
/** The process, or the whole system, has none left. */
const exhaustedCodes: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE'])

/**
 * Counts the connections to all receivers. Over HTTP/2 one connection of a caller can need a hundred
 * of them, so that the bound on accepted connections does not keep descriptors for the ledger, which
 * ends the process when it cannot open its next file.
 */
export class Descriptors {
  readonly #max: number | null
  #open = 0

  /** Null where the system sets no limit. */
  constructor(max: number | null) {
    this.#max = max
  }

  /** `connect`, within the bound. A connection counts from the attempt to its end. */
  bound(connect: buildConnector.connector): buildConnector.connector {
    return (target, done) => {
      if (this.#max !== null && this.#open >= this.#max) {
        return done(new NoRoomError(this.#refusal('connections to receivers')), null)
      }
      this.#open += 1
      connect(target, (...result) => {
        const [fault, socket] = result
        if (fault === null && socket !== null) this.#follow(socket)
        else this.#open -= 1
        if (fault !== null && isExhausted(fault)) {
          return done(new NoRoomError(this.#refusal('there are no file descriptors left')), null)
        }
        done(...result)
      })
    }
  }

  #follow(socket: Socket): void {
    if (socket.destroyed) {
      this.#open -= 1
      return
    }
    socket.once('close', () => {
      this.#open -= 1
    })
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
