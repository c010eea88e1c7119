/**
 * Returns `read` for any number of callers: one read at a time, whose result they share. A call
 * during a read waits for the next one, which begins after the call. Unauthenticated clients can
 * therefore ask for what only a store knows, and cost the store one read at a time together.
 */
export function sharedRead<Result>(read: () => Promise<Result>): () => Promise<Result> {
  let running: Promise<Result> | null = null
  let next: Promise<Result> | null = null
  const begin = (): Promise<Result> => {
    next = null
    running = read().finally(() => {
      running = null
    })
    return running
  }
  return () => {
    if (running === null) return begin()
    next ??= running.then(begin, begin)
    return next
  }
}
