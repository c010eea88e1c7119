/**
 * The knowledge by which a process decides, as far as others may have changed it meanwhile. A
 * process that was paused or cut off does not know that it is behind, only that it has not read.
 */
export interface Authority {
  /** False when the last successful read is too long ago to decide by. */
  isFresh(): boolean
  /** Reads once. Rejects, within a bounded time, when that was not possible. */
  refresh(): Promise<void>
}

/** The same decision, which waits for one read if `authority` is not fresh. */
export function whenFresh<Args extends readonly unknown[], Result>(
  authority: Authority,
  decide: (...args: Args) => Result | Promise<Result>,
): (...args: Args) => Result | Promise<Result> {
  return (...args) =>
    authority.isFresh() ? decide(...args) : becomeFresh(authority).then(() => decide(...args))
}

/** Waits for one read if `authority` is not fresh. Rejects if no decision can be made. */
export async function becomeFresh(authority: Authority): Promise<void> {
  if (authority.isFresh()) return
  await authority.refresh()
  if (!authority.isFresh()) throw new StaleAuthority()
}

export class StaleAuthority extends Error {
  constructor(cause?: unknown) {
    super('the state was not read for too long to decide by it; look at the state store', { cause })
  }
}
