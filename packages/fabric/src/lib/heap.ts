/**
 * Collects this thread's garbage and gives the pages back to the operating system, in some 50 ms
 * that nothing else gets. Starting leaves 20 MB behind, which an idle server would keep for good:
 * the collector takes its time where little is allocated. A runtime without an inspector keeps it.
 */
export async function giveBackGarbage(): Promise<void> {
  const inspector = await import('node:inspector/promises').catch(() => null)
  if (inspector === null) return
  const session = new inspector.Session()
  session.connect()
  try {
    await session.post('HeapProfiler.collectGarbage')
  } finally {
    session.disconnect()
  }
}

/** The least surplus that a collection is worth: less comes and goes with ordinary traffic. */
const surplusBytesMin = 64 * 1024 * 1024
const lookEveryMs = 10_000

/** Above this, the collector runs by itself, and another collection would only take time. */
const busyShareMax = 0.5

/** Below this, a burst is over. */
const quietShareMax = 0.2

/** The memory that this process holds, and the part of it that is still in use. */
export interface HeapUse {
  readonly heldBytes: number
  readonly usedBytes: number
  /** Processor time so far, microseconds. */
  readonly cpuUs: number
}

/**
 * Gives memory back after a burst. The bodies of a flood are garbage once it is over, but a server
 * with little to do allocates too little for the collector to look at them, and would keep their
 * pages for hours. Memory that a collection does not free is in use, and is not a reason for
 * another one.
 *
 * The collector of a burst itself leaves pages of which a little is in use. So once a burst is
 * over, one collection follows that compacts them, however little of them is garbage by then.
 */
export class HeapKeeper {
  readonly #look: () => HeapUse
  readonly #collect: () => Promise<void>
  readonly #timer: NodeJS.Timeout
  #floorBytes = 0
  #cpuUs = 0
  /** True if the surplus was large at any time since the last collection. */
  #wasLarge = false
  #isCollecting = false

  constructor(look: () => HeapUse, collect: () => Promise<void> = giveBackGarbage) {
    this.#look = look
    this.#collect = collect
    this.#timer = setInterval(() => void this.check(), lookEveryMs).unref()
  }

  async check(): Promise<void> {
    const { heldBytes, usedBytes, cpuUs } = this.#look()
    const share = (cpuUs - this.#cpuUs) / (lookEveryMs * 1_000)
    this.#cpuUs = cpuUs
    const isLarge = heldBytes - usedBytes - this.#floorBytes >= surplusBytesMin
    this.#wasLarge ||= isLarge
    const isWorthIt = isLarge ? share <= busyShareMax : this.#wasLarge && share <= quietShareMax
    if (this.#isCollecting || !isWorthIt) return
    this.#isCollecting = true
    this.#wasLarge = false
    try {
      await this.#collect()
      const { heldBytes: kept, usedBytes: stillUsed } = this.#look()
      this.#floorBytes = Math.max(0, kept - stillUsed)
    } finally {
      this.#isCollecting = false
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

/**
 * Keeps the heap of this process small, of which a listener uses `usedBytes`. Returns what stops
 * it.
 */
export function keepHeapSmall(usedBytes: () => number): () => void {
  const keeper = new HeapKeeper(() => {
    const { heapTotal, external } = process.memoryUsage()
    const { user, system } = process.cpuUsage()
    return { heldBytes: heapTotal + external, usedBytes: usedBytes(), cpuUs: user + system }
  })
  return () => keeper.close()
}
