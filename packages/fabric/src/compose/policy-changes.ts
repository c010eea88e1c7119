import { Serializer } from '../concurrency/serializer.ts'
import type { PolicySource } from '../policy/policy-set.ts'

/** The facts of a change in an entry `policies-changed`. */
export interface PolicyChange {
  /** Names of the files that were added, changed or removed. */
  readonly files: readonly string[]
  /**
   * Exchanges whose `policy.put` wrote one of them, and `files` for what changed in the folder
   * itself.
   */
  readonly changedBy: readonly string[]
}

interface Put {
  readonly text: string
  readonly exchange: string
}

/**
 * A put that was written and is not in force yet; only a folder broken meanwhile keeps one waiting.
 */
const putsWaitingMax = 64

/**
 * Tells who changed the policies. A change takes force when the folder is read again, by a put or
 * by the watcher, whichever comes first, so that its cause is found by comparing texts.
 */
export class PolicyChanges {
  readonly #waiting = new Map<string, Put>()
  #sources: readonly PolicySource[]
  readonly #puts = new Serializer()

  constructor(sources: readonly PolicySource[]) {
    this.#sources = sources
  }

  /**
   * Runs `write` after every put before it: each checks the set that the one before left, and no
   * two texts of one file pass for each other.
   */
  inTurn<Value>(write: () => Promise<Value>): Promise<Value> {
    return this.#puts.run(write)
  }

  /** To be called before the file is written. */
  expect(name: string, put: Put): void {
    this.#waiting.delete(name)
    this.#waiting.set(name, put)
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > putsWaitingMax && oldest !== undefined) this.#waiting.delete(oldest)
  }

  /** The file is in force as it was put, or was so before. */
  settle(name: string): void {
    this.#waiting.delete(name)
  }

  /** To be called once for every set that takes force. */
  take(sources: readonly PolicySource[]): PolicyChange {
    const [before, after] = [textsOf(this.#sources), textsOf(sources)]
    this.#sources = sources
    const names = [...new Set([...before.keys(), ...after.keys()])].toSorted()
    const files = names.filter((name) => before.get(name) !== after.get(name))
    const changedBy = new Set<string>()
    for (const name of files) {
      const put = this.#waiting.get(name)
      changedBy.add(put !== undefined && put.text === after.get(name) ? put.exchange : 'files')
      this.#waiting.delete(name)
    }
    return { files, changedBy: [...changedBy].toSorted() }
  }
}

function textsOf(sources: readonly PolicySource[]): ReadonlyMap<string, string> {
  return new Map(sources.map(({ name, text }) => [name, text]))
}
