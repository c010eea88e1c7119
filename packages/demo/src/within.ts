/** Rejects with `why` when `work` takes longer than `msMax`; the work itself goes on. */
export async function within<T>(work: Promise<T>, msMax: number, why: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${why} within ${msMax} ms`)), msMax)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
