import type { PolicyModule } from './policy.ts'
import type { CompiledPolicySet } from './policy-set.ts'

/** A connector goes on without news for 90 s, and its entries wait for some seconds more. */
const keptMs = 120_000
/** Sets that are kept next to the one in force, and what is in all of them. */
const setsMax = 32
const policiesMax = 40_000
/** Compiled, a policy occupies some thirty bytes for each character. */
const charactersMax = 4 * 1024 * 1024

interface Superseded {
  readonly set: CompiledPolicySet
  readonly at: number
}

/** The policy sets that were in force lately: those by which a connector can have decided. */
export class PolicyHistory {
  readonly #deps: PolicyModule & { readonly current: CompiledPolicySet }
  readonly #monotonic: () => number
  #current: CompiledPolicySet
  #superseded: Superseded[] = []
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor(
    deps: PolicyModule & { readonly current: CompiledPolicySet },
    monotonic: () => number,
  ) {
    this.#deps = deps
    this.#monotonic = monotonic
    this.#current = deps.current
    deps.onChange(() => this.#take())
  }

  /** Number of sets that are kept next to the one in force. */
  get kept(): number {
    return this.#superseded.length
  }

  /** The set of that version, where it was in force lately; null for every other version. */
  find(version: string): CompiledPolicySet | null {
    if (version === this.#deps.current.version) return this.#deps.current
    this.#forget()
    return this.#superseded.find(({ set }) => set.version === version)?.set ?? null
  }

  #take(): void {
    const at = this.#monotonic()
    const kept = [{ set: this.#current, at }, ...this.#superseded].slice(0, setsMax)
    let policies = 0
    let characters = 0
    this.#superseded = kept.filter(({ set }, i) => {
      policies += set.policies.length
      for (const { text } of set.sources) characters += text.length
      return i === 0 || (policies <= policiesMax && characters <= charactersMax)
    })
    this.#current = this.#deps.current
    this.#forget()
  }

  /** Frees the memory of old sets by a timer, also without further calls. */
  #forget(): void {
    const now = this.#monotonic()
    this.#superseded = this.#superseded.filter(({ at }) => at >= now - keptMs)
    const oldest = this.#superseded.at(-1)
    if (oldest === undefined || this.#timer !== null) return
    this.#timer = setTimeout(
      () => {
        this.#timer = null
        this.#forget()
      },
      oldest.at + keptMs + 1 - now,
    ).unref()
  }
}
