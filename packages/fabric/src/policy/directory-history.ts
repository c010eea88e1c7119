import type { PolicyRequest } from './policy.ts'

/** A connector goes on without news for 90 s, and its entries wait for some seconds more. */
const keptMs = 120_000
/**
 * Changes that are kept of one name, and names of which any are kept: as many as a directory holds.
 */
const changesMax = 8
const namesMax = 100_000

/** As much of a principal as decisions of connectors are about. */
export interface Described {
  readonly name: string
  readonly kind: PolicyRequest['principal']['kind']
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: PolicyRequest['principal']['attributes']
  readonly status: string
}

export interface DescribedDirectory {
  find(name: string): Described | null
  list(): readonly Described[]
  onChange(listener: (record: Described) => void): () => void
}

/** Null stands for a name that was not in the directory. */
interface Superseded {
  readonly was: Described | null
  readonly at: number
}

/** The directory as it was lately: what a connector can have decided about. */
export class DirectoryHistory {
  readonly #directory: DescribedDirectory
  readonly #monotonic: () => number
  readonly #known: Map<string, Described>
  /** In the order of the newest change of each name. */
  readonly #superseded = new Map<string, readonly Superseded[]>()

  constructor(directory: DescribedDirectory, monotonic: () => number) {
    this.#directory = directory
    this.#monotonic = monotonic
    this.#known = new Map(directory.list().map((record) => [record.name, record]))
    directory.onChange((record) => this.#take(record))
  }

  /** Returns the current directory record of that name and those of the last two minutes. */
  find(name: string): readonly (Described | null)[] {
    const since = this.#monotonic() - keptMs
    const kept = this.#superseded.get(name) ?? []
    return [
      this.#directory.find(name),
      ...kept.filter(({ at }) => at >= since).map(({ was }) => was),
    ]
  }

  #take(record: Described): void {
    const { name } = record
    const at = this.#monotonic()
    const was = this.#known.get(name) ?? null
    this.#known.set(name, record)
    // Enrolments and renewals change nothing that a decision is about.
    if (was?.status === record.status && isDescribedAs(record, was)) return
    const kept = (this.#superseded.get(name) ?? []).filter((each) => each.at >= at - keptMs)
    this.#superseded.delete(name)
    this.#superseded.set(name, [{ was, at }, ...kept].slice(0, changesMax))
    for (const [oldest, [newest]] of this.#superseded) {
      const isKept = newest !== undefined && newest.at >= at - keptMs
      if (isKept && this.#superseded.size <= namesMax) break
      this.#superseded.delete(oldest)
    }
  }
}

type Description = Pick<Described, 'roles' | 'segment' | 'attributes'>

/** Reports whether the two look the same to policy. */
export function isDescribedAs(a: Description, b: Description): boolean {
  const names = Object.keys(a.attributes)
  return (
    a.segment === b.segment &&
    a.roles.length === b.roles.length &&
    a.roles.every((role, i) => role === b.roles[i]) &&
    names.length === Object.keys(b.attributes).length &&
    names.every(
      (name) => Object.hasOwn(b.attributes, name) && a.attributes[name] === b.attributes[name],
    )
  )
}
