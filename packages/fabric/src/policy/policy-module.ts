import { parseUtf8, utf8 } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import type { Clock } from '../lib/clock.ts'
import type { Refusal } from '../lib/refusal.ts'
import { AdoptedPolicies } from './adopted-policies.ts'
import { compilePolicies, PoliciesRejected, type PolicyCompilation } from './compile-policies.ts'
import { firstPolicies } from './first-policies.ts'
import type { PolicyModule, PolicySet } from './policy.ts'
import {
  changeBetween,
  PoliciesMovedOn,
  type PolicyChange,
  type PutFile,
  type RecordPolicyChange,
} from './policy-change.ts'
import { readPolicyFolder } from './policy-folder.ts'
import { PolicyMirror, type PolicyMirrorOptions } from './policy-mirror.ts'
import { PolicyRows, type PolicyStream, type StoredPolicies } from './policy-rows.ts'
import type { CompiledPolicySet, PolicySource } from './policy-set.ts'
import { compileSettled, isSame, withSource } from './policy-sources.ts'
import { watchFolder } from './watch-folder.ts'

export interface PolicyModuleOptions extends PolicyCompilation, PolicyMirrorOptions {
  /** Holds the set in force, for every process that shares it. */
  readonly state: PolicyStream
  readonly clock: Pick<Clock, 'monotonic'>
  /** Called before the first set of all is read from the folder. */
  readonly install?: () => Promise<void>
  /** True if changes in the folder take force by themselves. */
  readonly watch: boolean
  /** Called before a change takes effect, which waits for it. */
  readonly record: RecordPolicyChange
  /**
   * Called for a change that is on record and did not take effect, with the version that is in
   * force.
   */
  readonly recordKept: RecordPolicyChange
  /**
   * Called once with the reason why a changed folder was not taken, or a set of another process not
   * adopted; the set in force stays in force.
   */
  readonly onRejected: (error: unknown) => void
  /** Called when both are good again after that. */
  readonly onRepaired: (set: PolicySet) => void
  /** Called once with the reason why the folder could not be brought to the set in force. */
  readonly onUnmirrored: (error: unknown) => void
}

export interface OpenPolicyModule extends PolicyModule {
  readonly current: CompiledPolicySet
  /**
   * The set to decide by. Throws while the one of the state was not adopted for too long, or does
   * not compile here.
   */
  decisive(): CompiledPolicySet
  /** Why nothing can be decided, or null. */
  fault(): string | null
  /** Called when a set stops to decide that no other one replaces. */
  onUndecided(listener: () => void): () => void
  /**
   * Reads the folder again. Resolves to the set in force: the same object when nothing changed.
   * Rejects, and changes nothing, when the folder is not a valid set (`PoliciesRejected`), could
   * not be read, its change could not be recorded, or another process was faster
   * (`PoliciesMovedOn`). Calls run one after the other.
   */
  reload(): Promise<CompiledPolicySet>
  /**
   * Replaces one file, durably, and resolves to the set in force. The whole set must be valid with
   * it (`PoliciesRejected`) and its change on record, or nothing is written. Runs in turn with
   * `reload`, and loses to a change of another process (`PoliciesMovedOn`).
   */
  put(file: PutFile): Promise<CompiledPolicySet | Refusal>
  /** The texts in force, for connectors that decide by themselves. */
  policySources(): readonly PolicySource[]
  /** Stops following, and resolves when the folder is written. `current` can still be asked. */
  close(): Promise<void>
}

/**
 * Opens the module on the set of the state, and on its folder; an empty set denies everything. The
 * first process takes the set from the folder. Rejects without a valid set: a fabric does
 * not start without its policies.
 */
export async function openPolicyModule(options: PolicyModuleOptions): Promise<OpenPolicyModule> {
  const rows = new PolicyRows(options.state)
  const mirror = new PolicyMirror(options)
  try {
    const set = await firstPolicies(options, rows, mirror)
    const policies = new StatePolicies(options, { rows, mirror, set })
    await policies.followState()
    return policies
  } catch (cause) {
    mirror.close()
    throw cause
  }
}

interface PolicyParts {
  readonly rows: PolicyRows
  readonly mirror: PolicyMirror
  readonly set: CompiledPolicySet
}

/** A change that is on record, as long as it is not known to be in the state. */
interface UnsettledChange {
  readonly change: PolicyChange
  readonly base: StoredPolicies
}

class StatePolicies implements OpenPolicyModule {
  readonly #options: PolicyModuleOptions
  readonly #rows: PolicyRows
  readonly #mirror: PolicyMirror
  readonly #adopted: AdoptedPolicies
  readonly #stops: readonly (() => void)[]
  readonly #changes = new Serializer()
  #unsettled: UnsettledChange | null = null
  /**
   * The sources that the watcher found invalid, so that they are compiled once and not at every
   * poll.
   */
  #rejected: readonly PolicySource[] | null = null
  /** The last message passed to `onRejected`, so that it is not repeated. */
  #complaint = ''
  /** Likewise of `onUnmirrored`. */
  #mirrorFault = ''

  constructor(options: PolicyModuleOptions, { rows, mirror, set }: PolicyParts) {
    this.#options = options
    this.#rows = rows
    this.#mirror = mirror
    this.#adopted = new AdoptedPolicies(rows, set, {
      clock: options.clock,
      // The process that made the change has searched it for warnings, which takes seconds.
      compile: (sources) => compilePolicies(sources, { ...options, isLinted: false }),
      onFault: options.onRejected,
      onRecovered: options.onRepaired,
    })
    this.#stops = [
      rows.onChange(() => void this.followState()),
      options.watch ? watchFolder(options.dir, () => void this.#followFolder()) : () => undefined,
    ]
  }

  get current(): CompiledPolicySet {
    return this.#adopted.current
  }

  decisive(): CompiledPolicySet {
    return this.#adopted.decisive()
  }

  fault(): string | null {
    return this.#adopted.fault()
  }

  onChange(listener: (set: PolicySet) => void): () => void {
    return this.#adopted.onChange(listener)
  }

  onUndecided(listener: () => void): () => void {
    return this.#adopted.onUndecided(listener)
  }

  reload(): Promise<CompiledPolicySet> {
    return this.#changes.run(() => this.#import(false))
  }

  put(file: PutFile): Promise<CompiledPolicySet | Refusal> {
    return this.#changes.run(() => this.#put(file))
  }

  policySources(): readonly PolicySource[] {
    return this.current.sources
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) stop()
    this.#adopted.close()
    await this.#changes.run(async () => this.#mirror.close())
  }

  /** Brings the folder to the set of the state, in its turn. Never rejects. */
  async followState(): Promise<void> {
    await this.#changes
      .run(() => this.#writeMirror(this.#stored(), null))
      .catch((error: unknown) => this.#options.onUnmirrored(error))
  }

  async #import(skipRejected: boolean): Promise<CompiledPolicySet> {
    const base = await this.#catchUp()
    // Its differences may come from another set than the one in force.
    if (!this.#mirror.mirrors(base)) return this.current
    const sources = await this.#readFolder()
    if (isSame(sources, base.sources)) {
      this.#rejected = null
      return this.current
    }
    if (skipRejected && this.#rejected !== null && isSame(sources, this.#rejected)) {
      return this.current
    }
    const read = () => this.#readFolder()
    const next = await compileSettled(sources, read, this.#options).catch((error: unknown) => {
      if (error instanceof PoliciesRejected) this.#rejected = sources
      throw error
    })
    const refusal = await this.#commit(base, next, null)
    if (refusal !== null) throw new Error(`the change is not on record: ${refusal.detail}`)
    await this.#writeMirror(this.#stored(), [])
    return this.current
  }

  /** A change that another one has overtaken is kept aside, which is reported by itself. */
  async #importWatched(): Promise<CompiledPolicySet> {
    try {
      return await this.#import(true)
    } catch (error) {
      if (!(error instanceof PoliciesMovedOn)) throw error
      await this.#catchUp()
      return this.current
    }
  }

  async #put({ name, text, exchange }: PutFile): Promise<CompiledPolicySet | Refusal> {
    // As it will be read from the folder, which holds no lone surrogate.
    const file = { name, exchange, text: parseUtf8(utf8(text)) }
    const base = await this.#catchUp()
    const read = async () => withSource(await this.#sourcesBeside(base, name), file)
    const next = await compileSettled(await read(), read, this.#options)
    const refusal = await this.#commit(base, next, file)
    if (refusal !== null) return refusal
    await this.#writeMirror(this.#stored(), this.#mirror.mirrors(base) ? [name] : null)
    return this.current
  }

  /**
   * The only place where a set takes effect by this process: in the state, and only once its change
   * is on record.
   */
  async #commit(
    base: StoredPolicies,
    next: CompiledPolicySet,
    put: PutFile | null,
  ): Promise<Refusal | null> {
    if (isSame(next.sources, base.sources)) return null
    const change = changeBetween(base, next, put)
    const recorded: { refusal: Refusal | null } = { refusal: null }
    this.#adopted.prepare(next)
    // A crash in the middle leaves the entry of a change that never took effect; the entry of the
    // next start states the version that it loads. In the other order a set would decide that no
    // entry names.
    const record = async (): Promise<boolean> => {
      recorded.refusal = await this.#options.record(change)
      if (recorded.refusal === null) this.#unsettled = { change, base }
      return recorded.refusal === null
    }
    if (await this.#isCommitted(base, next, record)) {
      this.#unsettled = null
      this.#rejected = null
      return null
    }
    this.#adopted.prepare(null)
    if (recorded.refusal !== null) return recorded.refusal
    await this.#settle()
    // Another process made the same change.
    if (this.#stored().version === next.version) return null
    throw new PoliciesMovedOn(change, this.#stored().version)
  }

  async #isCommitted(
    base: StoredPolicies,
    next: CompiledPolicySet,
    record: () => Promise<boolean>,
  ): Promise<boolean> {
    try {
      return await this.#rows.replace(base, next, record)
    } catch (cause) {
      const { change, version } = this.#stored()
      // The answer was lost, and the commit was not.
      if (change === base.change + 1 && version === next.version) return true
      throw cause
    }
  }

  /**
   * Puts on record which version is in force after a change whose entry is there and which was not
   * committed, or is not known to be.
   */
  async #settle(): Promise<void> {
    if (this.#unsettled === null) return
    const { change, base } = this.#unsettled
    // The commit may still be under way: after this, it fails.
    await this.#rows.fence(base)
    const { version } = this.#stored()
    const isKept = version !== change.version
    const refusal = isKept ? await this.#options.recordKept({ ...change, version }) : null
    if (refusal !== null)
      throw new Error(`the version in force is not on record: ${refusal.detail}`)
    this.#unsettled = null
  }

  /** Returns the set that a change is based on, with the folder at it if that is possible. */
  async #catchUp(): Promise<StoredPolicies> {
    await this.#settle()
    const stored = this.#stored()
    await this.#writeMirror(stored, null)
    return stored
  }

  /**
   * Writes the files `only`, or, where the folder mirrors another set, all of them. The set is in
   * force already, so a folder that cannot be written is reported, and written later.
   */
  async #writeMirror(stored: StoredPolicies, only: readonly string[] | null): Promise<void> {
    try {
      await this.#mirror.write(stored, only ?? (this.#mirror.mirrors(stored) ? [] : null))
      this.#mirrorFault = ''
    } catch (error) {
      if (String(error) !== this.#mirrorFault) this.#options.onUnmirrored(error)
      this.#mirrorFault = String(error)
    }
  }

  #stored(): StoredPolicies {
    const { stored } = this.#rows
    if (stored === null) throw new Error('the state has lost its policies')
    return stored
  }

  #readFolder(): Promise<readonly PolicySource[]> {
    return readPolicyFolder(this.#options.dir)
  }

  /** Reads the folder: a file that was spoiled there by hand stops every set with it. */
  async #sourcesBeside(base: StoredPolicies, name: string): Promise<readonly PolicySource[]> {
    // The texts of another set would bring that one back.
    if (!this.#mirror.mirrors(base)) return base.sources
    try {
      return await this.#readFolder()
    } catch (cause) {
      const isRepair =
        cause instanceof PoliciesRejected && cause.problems.every(({ file }) => file === name)
      if (!isRepair) throw cause
      return base.sources
    }
  }

  async #followFolder(): Promise<void> {
    try {
      await this.#adopted.retry()
      const set = await this.#changes.run(() => this.#importWatched())
      if (this.#rejected !== null) return
      if (this.#complaint !== '') this.#options.onRepaired(set)
      this.#complaint = ''
    } catch (error) {
      if (String(error) !== this.#complaint) this.#options.onRejected(error)
      this.#complaint = String(error)
    }
  }
}
