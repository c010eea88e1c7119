import { LIMITS } from '../lib/limits.ts'

/**
 * The memory of request bodies that a serving agent holds. Half of it is for what the fabric
 * forwards, so that other agents, which connect directly, cannot use it up; each of those has at
 * most a quarter.
 */
export class BodyMemory {
  readonly #bytesMax: number
  readonly #bytesOf = new Map<string, number>()
  #bytesOfAgents = 0

  constructor(bytesMax: number = LIMITS.bodyMemoryBytesMax) {
    this.#bytesMax = bytesMax
  }

  /** Opens an account for one body of a peer that proved this SPIFFE ID. */
  open(peer: string, isFabric: boolean): BodyAccount {
    let taken = 0
    const account: BodyAccount = {
      take: (bytes) => {
        const ofPeer = (this.#bytesOf.get(peer) ?? 0) + bytes
        const isOver = isFabric
          ? ofPeer > this.#bytesMax / 2
          : ofPeer > this.#bytesMax / 4 || this.#bytesOfAgents + bytes > this.#bytesMax / 2
        if (isOver) return false
        this.#add(peer, isFabric, bytes)
        taken += bytes
        return true
      },
      hold: (bytes) => {
        if (bytes > taken) return account.take(bytes - taken)
        this.#add(peer, isFabric, bytes - taken)
        taken = bytes
        return true
      },
      close: () => void account.hold(0),
    }
    return account
  }

  #add(peer: string, isFabric: boolean, bytes: number): void {
    const ofPeer = (this.#bytesOf.get(peer) ?? 0) + bytes
    if (ofPeer > 0) this.#bytesOf.set(peer, ofPeer)
    else this.#bytesOf.delete(peer)
    if (!isFabric) this.#bytesOfAgents += bytes
  }
}

const answers = new WeakMap<object, BodyMemory>()

/**
 * The memory of the answers that are being received over one connection pool:
 * `LIMITS.bodyMemoryBytesMax` of all receivers together, and half of that of one.
 */
export function answerMemoryOf(connection: object): BodyMemory {
  const known = answers.get(connection) ?? new BodyMemory(2 * LIMITS.bodyMemoryBytesMax)
  answers.set(connection, known)
  return known
}

export interface BodyAccount {
  /** Returns whether that many more bytes may be kept. */
  take(bytes: number): boolean
  /** Returns whether so many bytes may be kept in all; keeps fewer in any case. */
  hold(bytes: number): boolean
  close(): void
}
