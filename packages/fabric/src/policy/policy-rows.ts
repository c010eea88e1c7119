import { ListenerSet } from '@countersign/protocol'
import { z } from 'zod'
import type { Projection } from '../state/projection.ts'
import type { StateChange } from '../state/state-store.ts'
import type { StateStream } from '../state/state-stream.ts'
import { isPolicyFileName } from './policy-folder.ts'
import type { PolicySource } from './policy-set.ts'

/** The set of policies that the state holds: files and their version, always of one commit. */
export interface StoredPolicies {
  /** Counts the commits of a set, from 1 on, so that a set can be older than another. */
  readonly change: number
  /** Hex SHA-256 over names and texts. */
  readonly version: string
  /** Sorted by name. */
  readonly sources: readonly PolicySource[]
}

type NextPolicies = Pick<StoredPolicies, 'version' | 'sources'>

/** The row that every commit of a set replaces: of two writers with one base, one loses. */
const headKey = 'set'

type PolicyRow =
  | { readonly kind: 'head'; readonly change: number; readonly version: string }
  | { readonly kind: 'file'; readonly text: string }

const headSchema = z.strictObject({
  change: z.number().int().min(1),
  version: z.string().regex(/^[0-9a-f]{64}$/),
})
const fileSchema = z.strictObject({ text: z.string() })

/** The part of the state stream that the module uses. */
export type PolicyStream = Pick<StateStream, 'project' | 'commit' | 'refresh' | 'isFresh'>

/** The policies as a table of the state: a row for each file, and one for the set. */
export class PolicyRows {
  readonly #stream: PolicyStream
  readonly #rows: Projection<PolicyRow>
  readonly #listeners = new ListenerSet()
  #stored: StoredPolicies | null

  /** Throws when the stored rows make no sense. */
  constructor(stream: PolicyStream) {
    this.#stream = stream
    this.#rows = stream.project<PolicyRow>({
      table: 'policies',
      parse: parseRow,
      format: formatRow,
    })
    this.#stored = readStored(this.#rows)
    // An exception ends the process, as for any row that makes no sense.
    this.#rows.onChange(() => {
      this.#stored = readStored(this.#rows)
      this.#listeners.notify()
    })
  }

  /** As of the revision that the stream has reached; null before the first set was committed. */
  get stored(): StoredPolicies | null {
    return this.#stored
  }

  /** Called after each commit that changed the set, of whichever process. */
  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener)
  }

  /**
   * Commits `next` if the set is still `base` (null: none). `record` is called once, immediately
   * before the commit, and puts the change on record; false ends it. Resolves to false if nothing
   * was committed. Rejects if the outcome is unknown, or when `record` does.
   */
  replace(
    base: StoredPolicies | null,
    next: NextPolicies,
    record: () => Promise<boolean>,
  ): Promise<boolean> {
    return this.#stream.commit(async () => {
      // An entry of a change that is known to be lost would state what never took effect.
      await this.#stream.refresh()
      if (this.#isReplaced(base) || !(await record())) return null
      return this.#isReplaced(base) ? null : this.#changesTo(next)
    })
  }

  /** After it, no commit on top of `base` that is still under way can succeed. */
  async fence(base: StoredPolicies | null): Promise<void> {
    await this.#stream.commit(() => {
      if (this.#isReplaced(base) || base === null) return null
      return [this.#headChange(base.version)]
    })
  }

  #isReplaced(base: StoredPolicies | null): boolean {
    return (this.#stored?.change ?? 0) !== (base?.change ?? 0)
  }

  #changesTo({ version, sources }: NextPolicies): readonly StateChange[] {
    const next = new Map(sources.map(({ name, text }) => [name, text]))
    const present = new Map(this.#stored?.sources.map(({ name, text }) => [name, text]))
    const names = [...new Set([...present.keys(), ...next.keys()])]
    const files = names.filter((name) => present.get(name) !== next.get(name))
    return [
      this.#headChange(version),
      ...files.map((name) => {
        const text = next.get(name)
        return this.#rows.change(name, text === undefined ? null : { kind: 'file', text })
      }),
    ]
  }

  #headChange(version: string): StateChange {
    const change = (this.#stored?.change ?? 0) + 1
    return this.#rows.change(headKey, { kind: 'head', change, version })
  }
}

function readStored(rows: Projection<PolicyRow>): StoredPolicies | null {
  const sources: PolicySource[] = []
  let head: Extract<PolicyRow, { kind: 'head' }> | null = null
  for (const [name, row] of rows.entries()) {
    if (row.kind === 'head') head = row
    else sources.push({ name, text: row.text })
  }
  if (head === null) {
    if (sources.length > 0) throw new Error('the state has policies without a version')
    return null
  }
  const { change, version } = head
  return { change, version, sources: sources.toSorted((a, b) => (a.name < b.name ? -1 : 1)) }
}

/** A name with a separator would be written outside of the folder. */
function parseRow(key: string, text: string): PolicyRow {
  const value: unknown = JSON.parse(text)
  if (key === headKey) return { kind: 'head', ...headSchema.parse(value) }
  if (!isPolicyFileName(key)) throw new TypeError('a stored policy file has an impossible name')
  return { kind: 'file', ...fileSchema.parse(value) }
}

function formatRow(row: PolicyRow): string {
  if (row.kind === 'file') return JSON.stringify({ text: row.text })
  return JSON.stringify({ change: row.change, version: row.version })
}
