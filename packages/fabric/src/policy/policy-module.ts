import { ListenerSet } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import { compilePolicies, PoliciesRejected, type PolicyCompilation } from './compile-policies.ts'
import type { PolicyModule, PolicySet } from './policy.ts'
import { readPolicyFolder } from './policy-folder.ts'
import type { CompiledPolicySet, PolicySource } from './policy-set.ts'
import { watchFolder } from './watch-folder.ts'

export interface PolicyModuleOptions extends PolicyCompilation {
  /** The folder of `*.cedar` files. */
  readonly dir: string
  /** True if changes in the folder take force by themselves. */
  readonly watch: boolean
  /** Told once why a changed folder was not taken; the set in force stays in force. */
  readonly onRejected: (error: unknown) => void
  /** Told when the folder is good again after that. */
  readonly onRepaired: (set: PolicySet) => void
}

export interface OpenPolicyModule extends PolicyModule {
  readonly current: CompiledPolicySet
  /**
   * Reads the folder again. Resolves to the set in force: the same object when nothing changed.
   * Rejects, and changes nothing, when the folder is not a valid set (`PoliciesRejected`) or could
   * not be read. Calls run one after the other.
   */
  reload(): Promise<CompiledPolicySet>
  /** Rejects with `PoliciesRejected` when `sources` are not a valid set; changes nothing. */
  check(sources: readonly PolicySource[]): Promise<void>
  /** The texts in force, for connectors that decide by themselves. */
  policySources(): readonly PolicySource[]
  /** Stops watching. The set in force can still be asked. */
  close(): void
}

/** Someone who writes all the time must not keep a reader in the loop. */
const readingsMax = 5

/**
 * Opens the room on a folder of policies; an empty or missing one denies everything. Rejects when
 * the folder is not a valid set: a fabric does not start without its policies.
 */
export async function openPolicyModule(options: PolicyModuleOptions): Promise<OpenPolicyModule> {
  const listeners = new ListenerSet<PolicySet>()
  let current = await compilePolicies(await readPolicyFolder(options.dir), options)
  const reloads = new Serializer()
  /**
   * The sources that the watcher found invalid, so that they are compiled once and not at every
   * poll.
   */
  let rejected: readonly PolicySource[] | null = null
  /** The last message passed to `onRejected`, so that it is not repeated. */
  let complaint = ''

  async function replace(skipRejected: boolean): Promise<CompiledPolicySet> {
    const sources = await readPolicyFolder(options.dir)
    if (isSame(sources, current.sources)) {
      rejected = null
      return current
    }
    if (skipRejected && rejected !== null && isSame(sources, rejected)) return current
    try {
      current = await compileSettled(sources, options)
    } catch (error) {
      if (error instanceof PoliciesRejected) rejected = sources
      throw error
    }
    rejected = null
    listeners.notify(current)
    return current
  }

  async function followFolder(): Promise<void> {
    try {
      const set = await reloads.run(() => replace(true))
      if (rejected !== null) return
      if (complaint !== '') options.onRepaired(set)
      complaint = ''
    } catch (error) {
      if (String(error) !== complaint) options.onRejected(error)
      complaint = String(error)
    }
  }

  const stopWatching = options.watch
    ? watchFolder(options.dir, () => void followFolder())
    : () => undefined
  return {
    get current() {
      return current
    },
    onChange: (listener) => listeners.add(listener),
    reload: () => reloads.run(() => replace(false)),
    async check(sources) {
      await compilePolicies(sources, { ...options, isLinted: false })
    },
    policySources: () => current.sources,
    close: stopWatching,
  }
}

/**
 * Compiles `sources` and reads the folder once more: what changed meanwhile was half written, and a
 * file caught empty would have lost its forbids. A file is best replaced by renaming.
 */
async function compileSettled(
  sources: readonly PolicySource[],
  options: PolicyModuleOptions,
): Promise<CompiledPolicySet> {
  let read = sources
  for (let reading = 0; reading < readingsMax; reading++) {
    const set = await compilePolicies(read, options)
    const again = await readPolicyFolder(options.dir)
    if (isSame(read, again)) return set
    read = again
  }
  throw new Error(`the policy folder changed during ${readingsMax} readings; the old set stays`)
}

function isSame(a: readonly PolicySource[], b: readonly PolicySource[]): boolean {
  if (a.length !== b.length) return false
  return a.every(({ name, text }, i) => name === b[i]?.name && text === b[i]?.text)
}
