import { ListenerSet, parseUtf8, utf8 } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import type { Refusal } from '../lib/refusal.ts'
import { compilePolicies, PoliciesRejected, type PolicyCompilation } from './compile-policies.ts'
import type { PolicyModule, PolicySet } from './policy.ts'
import { changeBetween, type PutFile, type RecordPolicyChange } from './policy-change.ts'
import { stagePolicyFile } from './policy-files.ts'
import { readPolicyFolder } from './policy-folder.ts'
import type { CompiledPolicySet, PolicySource } from './policy-set.ts'
import { watchFolder } from './watch-folder.ts'

export interface PolicyModuleOptions extends PolicyCompilation {
  /** The folder of `*.cedar` files. */
  readonly dir: string
  /** True if changes in the folder take force by themselves. */
  readonly watch: boolean
  /** Called before a change takes effect, which waits for it. */
  readonly record: RecordPolicyChange
  /**
   * Called once with the reason why a changed folder was not taken; the set in force stays in
   * force.
   */
  readonly onRejected: (error: unknown) => void
  /** Called when the folder is good again after that. */
  readonly onRepaired: (set: PolicySet) => void
}

export interface OpenPolicyModule extends PolicyModule {
  readonly current: CompiledPolicySet
  /**
   * Reads the folder again. Resolves to the set in force: the same object when nothing changed.
   * Rejects, and changes nothing, when the folder is not a valid set (`PoliciesRejected`), could
   * not be read, or its change could not be recorded. Calls run one after the other.
   */
  reload(): Promise<CompiledPolicySet>
  /**
   * Replaces one file, durably, and resolves to the set in force. The whole set must be valid with
   * it (`PoliciesRejected`) and its change on record, or the file is not written. Runs in turn with
   * `reload`.
   */
  put(file: PutFile): Promise<CompiledPolicySet | Refusal>
  /** The texts in force, for connectors that decide by themselves. */
  policySources(): readonly PolicySource[]
  /** Stops watching. The set in force can still be asked. */
  close(): void
}

/** A process that writes all the time must not keep a reader in the loop. */
const readingsMax = 5

/**
 * Opens the module on a folder of policies; an empty or missing one denies everything. Rejects when
 * the folder is not a valid set: a fabric does not start without its policies.
 */
export async function openPolicyModule(options: PolicyModuleOptions): Promise<OpenPolicyModule> {
  const set = await compilePolicies(await readPolicyFolder(options.dir), options)
  return new FolderPolicies(options, set)
}

class FolderPolicies implements OpenPolicyModule {
  readonly #options: PolicyModuleOptions
  readonly #listeners = new ListenerSet<PolicySet>()
  readonly #stopWatching: () => void
  readonly #changes = new Serializer()
  #current: CompiledPolicySet
  /**
   * The sources that the watcher found invalid, so that they are compiled once and not at every
   * poll.
   */
  #rejected: readonly PolicySource[] | null = null
  /** The last message passed to `onRejected`, so that it is not repeated. */
  #complaint = ''

  constructor(options: PolicyModuleOptions, set: CompiledPolicySet) {
    this.#options = options
    this.#current = set
    this.#stopWatching = options.watch
      ? watchFolder(options.dir, () => void this.#followFolder())
      : () => undefined
  }

  get current(): CompiledPolicySet {
    return this.#current
  }

  onChange(listener: (set: PolicySet) => void): () => void {
    return this.#listeners.add(listener)
  }

  reload(): Promise<CompiledPolicySet> {
    return this.#changes.run(() => this.#replace(false))
  }

  put(file: PutFile): Promise<CompiledPolicySet | Refusal> {
    return this.#changes.run(() => this.#put(file))
  }

  policySources(): readonly PolicySource[] {
    return this.#current.sources
  }

  close(): void {
    this.#stopWatching()
  }

  async #replace(skipRejected: boolean): Promise<CompiledPolicySet> {
    const sources = await this.#readFolder()
    if (isSame(sources, this.#current.sources)) {
      this.#rejected = null
      return this.#current
    }
    if (skipRejected && this.#rejected !== null && isSame(sources, this.#rejected)) {
      return this.#current
    }
    const read = () => this.#readFolder()
    const next = await compileSettled(sources, read, this.#options).catch((error: unknown) => {
      if (error instanceof PoliciesRejected) this.#rejected = sources
      throw error
    })
    const refusal = await this.#adopt(next, null, () => Promise.resolve())
    if (refusal !== null) throw new Error(`the change is not on record: ${refusal.detail}`)
    return this.#current
  }

  async #put({ name, text, exchange }: PutFile): Promise<CompiledPolicySet | Refusal> {
    // As it will be read from the folder, which holds no lone surrogate.
    const file = { name, exchange, text: parseUtf8(utf8(text)) }
    const read = async () => withSource(await this.#sourcesBeside(name), file)
    const next = await compileSettled(await read(), read, this.#options)
    const staged = await stagePolicyFile(this.#options.dir, file)
    try {
      const refusal = await this.#adopt(next, file, () => staged.commit())
      return refusal ?? this.#current
    } finally {
      await staged.discard()
    }
  }

  /** The only place where a set takes effect, and only once its change is on record. */
  async #adopt(
    next: CompiledPolicySet,
    put: PutFile | null,
    write: () => Promise<void>,
  ): Promise<Refusal | null> {
    const before = this.#current
    const isChange = !isSame(next.sources, before.sources)
    const refusal = isChange ? await this.#options.record(changeBetween(before, next, put)) : null
    if (refusal !== null) return refusal
    // A crash here leaves the entry of a change that never took effect; the entry of the next start
    // states the version that it loads. In the other order a set would decide that no entry names.
    await write()
    this.#rejected = null
    if (!isChange) return null
    this.#current = next
    this.#listeners.notify(next)
    return null
  }

  #readFolder(): Promise<readonly PolicySource[]> {
    return readPolicyFolder(this.#options.dir)
  }

  /** Reads the folder: a file that was spoiled there by hand stops every set with it. */
  async #sourcesBeside(name: string): Promise<readonly PolicySource[]> {
    try {
      return await this.#readFolder()
    } catch (cause) {
      const isRepair =
        cause instanceof PoliciesRejected && cause.problems.every(({ file }) => file === name)
      if (!isRepair) throw cause
      return this.#current.sources
    }
  }

  async #followFolder(): Promise<void> {
    try {
      const set = await this.#changes.run(() => this.#replace(true))
      if (this.#rejected !== null) return
      if (this.#complaint !== '') this.#options.onRepaired(set)
      this.#complaint = ''
    } catch (error) {
      if (String(error) !== this.#complaint) this.#options.onRejected(error)
      this.#complaint = String(error)
    }
  }
}

/**
 * Compiles `sources` and reads them once more: what changed meanwhile was half written, and a file
 * caught empty would have lost its forbids. A file is best replaced by renaming.
 */
async function compileSettled(
  sources: readonly PolicySource[],
  readAgain: () => Promise<readonly PolicySource[]>,
  options: PolicyModuleOptions,
): Promise<CompiledPolicySet> {
  let read = sources
  for (let reading = 0; reading < readingsMax; reading++) {
    const set = await compilePolicies(read, options)
    const again = await readAgain()
    if (isSame(read, again)) return set
    read = again
  }
  throw new Error(`the policy folder changed during ${readingsMax} readings; the old set stays`)
}

/** Sorted by name, as the folder is read. */
function withSource(
  sources: readonly PolicySource[],
  { name, text }: PolicySource,
): readonly PolicySource[] {
  const others = sources.filter((source) => source.name !== name)
  return [...others, { name, text }].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

function isSame(a: readonly PolicySource[], b: readonly PolicySource[]): boolean {
  if (a.length !== b.length) return false
  return a.every(({ name, text }, i) => name === b[i]?.name && text === b[i]?.text)
}
