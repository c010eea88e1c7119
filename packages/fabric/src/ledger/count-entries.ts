import { referencesOf } from './details.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { Pace } from './read-turns.ts'
import { LedgerDamage, type ResourceStore } from './store.ts'
import type { Subject } from './subjects.ts'
import { findDetail, tilePath, tileWidth } from './tiles.ts'
import type { Window } from './window.ts'

interface CountedLog {
  readonly resources: ResourceStore
  readonly window: Window
  readonly pruned: PrunedPart
  /** Entries that are looked at, all of them durable. */
  readonly size: number
  /** Called before each bundle. */
  readonly pace: Pace
  /** Throws once the log has stopped. */
  assertServing(): void
}

/** Read at once; a bundle whose details are larger is read detail by detail. */
const bundleBytesMax = 1024 * 1024

/**
 * Counts the entries that are left and name each of `subjects`, by the references in their details:
 * none of them is opened. One bundle of 256 entries at a time.
 */
export async function countEntries(
  subjects: readonly Subject[],
  log: CountedLog,
): Promise<ReadonlyMap<Subject, number>> {
  const counts = new Map(subjects.map((subject) => [subject, 0]))
  if (subjects.length === 0) return counts
  const count = (index: number, detail: Uint8Array): void => {
    const references = referencesOf(index, detail)
    for (const subject of subjects) {
      if (!references.some((each) => Buffer.compare(each, subject.reference) === 0)) continue
      counts.set(subject, (counts.get(subject) ?? 0) + 1)
    }
  }
  for (let first = log.pruned.minimum; first < log.size; first += tileWidth) {
    await log.pace()
    log.assertServing()
    const end = Math.min(first + tileWidth, log.size)
    if (log.window.find(first) === undefined) await countBundle(first, end, log, count)
    else await countWindow(first, end, log, count)
  }
  return counts
}

type Count = (index: number, detail: Uint8Array) => void

async function countWindow(first: number, end: number, log: CountedLog, count: Count) {
  for (let index = first; index < end; index++) {
    const entry = log.window.find(index)
    if (entry === undefined) return countBundle(index, end, log, count)
    count(index, entry.detail)
  }
}

/** Calls `count` with each detail of a full bundle, from entry `from` to `end`. */
export async function countBundle(
  from: number,
  end: number,
  { resources, pruned }: Pick<CountedLog, 'resources' | 'pruned'>,
  count: Count,
): Promise<void> {
  const path = tilePath('detail', Math.floor(from / tileWidth))
  const bytes = await resources.readPart(path, 0, bundleBytesMax)
  if (bytes === null) throw pruned.missing(from, path)
  for (let index = from; index < end; index++) {
    const { start, length } = findDetail(bytes, index % tileWidth, tileWidth)
    const isRead = start + length <= bytes.length
    const detail = isRead
      ? bytes.subarray(start, start + length)
      : await resources.readPart(path, start, length)
    if (detail?.length !== length) throw new LedgerDamage(`${path} ends early`)
    count(index, detail)
  }
}
