/** One part that has to be closed, under the name that a report uses. */
export interface Closer {
  readonly name: string
  /** Longer than the bound of the others, where waiting is the purpose. */
  readonly boundMs?: number
  close(): unknown
}

export interface ClosingFault {
  readonly name: string
  readonly cause: unknown
}

/** Enough for what a healthy part has to write; the process must not wait for an unhealthy one. */
const boundMsDefault = 5_000

/**
 * Closes each in turn, the next one also after a closer that threw or did not end in time: one
 * broken part must not keep the others open, nor the process alive. Never rejects.
 */
export async function closeInOrder(closers: readonly Closer[]): Promise<readonly ClosingFault[]> {
  const faults: ClosingFault[] = []
  for (const { name, boundMs = boundMsDefault, close } of closers) {
    const late = new Error(`not closed within ${boundMs} ms`)
    try {
      await within(boundMs, late, async () => close())
    } catch (cause) {
      faults.push({ name, cause })
    }
  }
  return faults
}

function within(ms: number, late: Error, work: () => Promise<unknown>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late), ms)
    work()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer))
  })
}
