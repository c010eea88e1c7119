/**
 * The knowledge by which a process decides, as far as others may have changed it meanwhile. A
 * process that was paused or cut off does not know that it is behind, only that it has not read.
 */
export interface Authority {
  /** False when a decision has to wait for a read first, if one is possible. */
  isCurrent(): boolean
  /** False when the last successful read is too long ago to decide by. */
  isFresh(): boolean
  /** Reads once. Rejects, within a bounded time, when that was not possible. */
  refresh(): Promise<void>
}

/** The same decision, which waits for one read if `authority` is not current. */
export function whenFresh<Args extends readonly unknown[], Result>(
  authority: Authority,
  decide: (...args: Args) => Result | Promise<Result>,
): (...args: Args) => Result | Promise<Result> {
  return (...args) =>
    authority.isCurrent() ? decide(...args) : becomeFresh(authority).then(() => decide(...args))
}

/**
 * Waits for one read if `authority` is not current: a process that was paused for less than its
 * bound decides by what others changed meanwhile. A read that fails is ignored while `authority` is
 * fresh. Rejects if no decision can be made.
 */
export async function becomeFresh(authority: Authority): Promise<void> {
  if (authority.isCurrent()) return
  await authority.refresh().catch((cause: unknown) => {
    if (!authority.isFresh()) throw cause
  })
  if (!authority.isFresh()) throw new StaleAuthority()
}

export class StaleAuthority extends Error {
  constructor(cause?: unknown) {
    super('the state was not read for too long to decide by it; look at the state store', { cause })
  }
}
