/**
 * Does `work` for each item, at most `atOnce` at a time, and takes the next item only then: what is
 * stored may be of any number, and a promise for each at once would meet some bound. Rejects with
 * the first failure, after what was under way has ended; no further item is begun.
 */
export async function forEachBounded<T>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = []
  const rest = items[Symbol.iterator]()
  const lane = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      try {
        await work(next.value)
      } catch (cause) {
        failures.push(cause)
      }
      if (failures.length > 0) return
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  if (failures.length > 0) throw failures[0]
}
