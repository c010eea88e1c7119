import { ListenerSet } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import { type Clock, setDeadline } from '../lib/clock.ts'
import { PoliciesRejected } from './compile-policies.ts'
import type { PolicySet } from './policy.ts'
import type { PolicyRows, StoredPolicies } from './policy-rows.ts'
import type { CompiledPolicySet, PolicySource } from './policy-set.ts'

/** A set that another process has committed is compiled within it, or nothing is decided. */
export const adoptMs = 5_000

/** The policies of the state are not those that this process has compiled: it cannot decide. */
export class PoliciesNotAdopted extends Error {}

export interface AdoptionOptions {
  readonly clock: Pick<Clock, 'monotonic'>
  compile(sources: readonly PolicySource[]): Promise<CompiledPolicySet>
  /** Called for each new reason why the set of the state was not adopted. */
  onFault(error: unknown): void
  /** Called for the first set that is adopted after that. */
  onRecovered(set: CompiledPolicySet): void
}

/**
 * The set that decides: the one of the state, once it is compiled. Until then the one before it
 * decides for `adoptMs`; one that does not compile here, although another process committed it,
 * ends all decisions at once, since it could be what withdraws a permission.
 */
export class AdoptedPolicies {
  readonly #rows: PolicyRows
  readonly #options: AdoptionOptions
  readonly #changed = new ListenerSet<PolicySet>()
  readonly #undecided = new ListenerSet()
  readonly #turns = new Serializer()
  readonly #stopFollowing: () => void
  #current: CompiledPolicySet
  /** Compiled for a commit of this process, so that it takes effect with it. */
  #prepared: CompiledPolicySet | null = null
  #behindSince: number | null = null
  #cancelDeadline = (): void => undefined
  /** The set of the state that does not compile here, and why. */
  #rejected: { readonly version: string; readonly cause: unknown } | null = null
  #complaint = ''

  constructor(rows: PolicyRows, first: CompiledPolicySet, options: AdoptionOptions) {
    this.#rows = rows
    this.#options = options
    this.#current = first
    this.#stopFollowing = rows.onChange(() => this.#follow())
    // The set may have changed while the first one was compiled.
    this.#follow()
  }

  /** The set that was adopted last, for what only shows or describes it. */
  get current(): CompiledPolicySet {
    return this.#current
  }

  /** Why nothing can be decided; null while the set of the state decides, or soon will. */
  fault(): string | null {
    if (this.#rejected !== null) {
      const remedy = 'bring this fabric to the version of the one that committed it'
      return `the policies of the state do not compile here; ${remedy}: ${String(this.#rejected.cause)}`
    }
    const { clock } = this.#options
    if (this.#behindSince === null || clock.monotonic() - this.#behindSince <= adoptMs) return null
    return `the policies of the state were not compiled within ${adoptMs} ms`
  }

  /** The set to decide by. Throws `PoliciesNotAdopted` while there is none. */
  decisive(): CompiledPolicySet {
    if (this.#behindSince === null) return this.#current
    const fault = this.fault()
    if (fault !== null) throw new PoliciesNotAdopted(fault)
    return this.#current
  }

  onChange(listener: (set: PolicySet) => void): () => void {
    return this.#changed.add(listener)
  }

  /** Called when a set stops to decide that no other one replaces. */
  onUndecided(listener: () => void): () => void {
    return this.#undecided.add(listener)
  }

  /** `set` takes effect when the state holds it; null takes the last one back. */
  prepare(set: CompiledPolicySet | null): void {
    this.#prepared = set
  }

  /** Compiles once more what could not be compiled, unless its text is at fault. */
  retry(): Promise<void> {
    return this.#turns.run(() => this.#compile())
  }

  close(): void {
    this.#stopFollowing()
    this.#cancelDeadline()
  }

  #follow(): void {
    const stored = this.#rows.stored
    if (stored === null) return
    if (stored.version === this.#current.version) this.#catchUp()
    else if (stored.version === this.#prepared?.version) this.#take(this.#prepared)
    else {
      this.#fallBehind()
      void this.retry()
    }
  }

  async #compile(): Promise<void> {
    const stored = this.#rows.stored
    if (stored === null || stored.version === this.#current.version) return
    if (stored.version === this.#rejected?.version) return
    try {
      const set = await this.#compileStored(stored)
      // Another commit may have come meanwhile, whose turn is next.
      if (this.#rows.stored?.version === set.version) this.#take(set)
    } catch (cause) {
      if (cause instanceof PoliciesRejected) this.#reject(stored, cause)
      const message = this.fault() ?? `the policies of the state are not compiled: ${String(cause)}`
      if (message === this.#complaint) return
      this.#complaint = message
      this.#options.onFault(new PoliciesNotAdopted(message, { cause }))
    }
  }

  async #compileStored({ version, sources }: StoredPolicies): Promise<CompiledPolicySet> {
    const set = await this.#options.compile(sources)
    if (set.version === version) return set
    const help = 'compare the versions of the fabrics that share the state'
    const message = `the files have another version than their set, ${version}`
    throw new PoliciesRejected([{ file: 'policies', line: 1, column: 1, message, help }])
  }

  #reject({ version }: StoredPolicies, cause: PoliciesRejected): void {
    this.#rejected = { version, cause }
    this.#undecided.notify()
  }

  #fallBehind(): void {
    if (this.#behindSince !== null) return
    this.#behindSince = this.#options.clock.monotonic()
    // A stream without events asks only when a listener is called.
    this.#cancelDeadline = setDeadline(adoptMs + 1, () => this.#undecided.notify())
  }

  #catchUp(): void {
    this.#behindSince = null
    this.#cancelDeadline()
    this.#rejected = null
    this.#prepared = null
    if (this.#complaint !== '') this.#options.onRecovered(this.#current)
    this.#complaint = ''
  }

  #take(set: CompiledPolicySet): void {
    this.#current = set
    this.#catchUp()
    this.#changed.notify(set)
  }
}
