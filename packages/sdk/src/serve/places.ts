import { Shares } from '@countersign/protocol'
import { LIMITS } from '../lib/limits.ts'

/** Gives the place back; may be called again. */
export type Leave = () => void

/**
 * The requests that a serving agent has at the same time. Until one is verified, it counts for who
 * holds the connection, what the fabric forwards apart from what other agents send themselves;
 * afterwards for its caller, until the response is out. Of each, one gets at most as many places as
 * are left for others: no agent, by heads without bodies, by slow calls or by responses that it
 * does not read, can keep the requests of others out.
 */
export class Places {
  readonly #fromFabric: Shares
  readonly #fromAgents: Shares
  readonly #working: Shares

  constructor(
    arrivingMax: number = LIMITS.arrivingMax,
    concurrentMax: number = LIMITS.concurrentMax,
  ) {
    this.#fromFabric = new Shares(arrivingMax)
    this.#fromAgents = new Shares(arrivingMax)
    this.#working = new Shares(concurrentMax)
  }

  /**
   * For a request whose head has arrived; `peer` holds the connection. Null: all places are taken.
   */
  arrive(peer: string, isFabric: boolean): Leave | null {
    return take(isFabric ? this.#fromFabric : this.#fromAgents, peer)
  }

  /** For a request that is verified. Null: all places are taken. */
  work(caller: string): Leave | null {
    return take(this.#working, caller)
  }
}

function take(shares: Shares, owner: string): Leave | null {
  if (!shares.hasSpace(owner)) return null
  shares.take(owner)
  let isHeld = true
  return () => {
    if (isHeld) shares.give(owner)
    isHeld = false
  }
}
