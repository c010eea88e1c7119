import type { PolicyRoom } from './policy.ts'
import type { CompiledPolicySet } from './policy-set.ts'

/** A connector goes on without news for 90 s, and its entries wait for some seconds more. */
const keptMs = 120_000
/** Sets that are kept next to the one in force, and policies in all of them. */
const setsMax = 32
const policiesMax = 40_000

interface Superseded {
  readonly set: CompiledPolicySet
  readonly at: number
}

/** The policy sets that were in force lately: those by which a connector can have decided. */
export class PolicyHistory {
  readonly #room: PolicyRoom & { readonly current: CompiledPolicySet }
  readonly #monotonic: () => number
  #current: CompiledPolicySet
  #superseded: Superseded[] = []

  constructor(room: PolicyRoom & { readonly current: CompiledPolicySet }, monotonic: () => number) {
    this.#room = room
    this.#monotonic = monotonic
    this.#current = room.current
    room.onChange(() => this.#take())
  }

  /** The set of that version, where it was in force lately; null for every other version. */
  find(version: string): CompiledPolicySet | null {
    if (version === this.#room.current.version) return this.#room.current
    const since = this.#monotonic() - keptMs
    this.#superseded = this.#superseded.filter(({ at }) => at >= since)
    return this.#superseded.find(({ set }) => set.version === version)?.set ?? null
  }

  #take(): void {
    const at = this.#monotonic()
    const kept = [{ set: this.#current, at }, ...this.#superseded].slice(0, setsMax)
    let policies = 0
    this.#superseded = kept.filter((each, i) => {
      policies += each.set.policies.length
      return each.at >= at - keptMs && (i === 0 || policies <= policiesMax)
    })
    this.#current = this.#room.current
  }
}
