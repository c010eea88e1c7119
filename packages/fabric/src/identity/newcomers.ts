import { Shares } from '../lib/limits.ts'
import type { AgentRecord, Directory } from './directory.ts'

/** Requests of agents that a copy of the directory does not hold yet; what is beyond waits for nothing. */
const waitingMax = 256
const waitingPerNameMax = 8
/** How long each of them waits: `mesh.newcomerMs`. */
export const newcomerMs = 5_000

/** Null where there is nothing to wait for. */
export type Newcomers = (name: string, generation: number) => Promise<void> | null

/** Whether someone was enrolled under this name, and we have not heard of it. */
export function isUnheard(record: AgentRecord | null, generation: number): boolean {
  return record === null || record.generation < generation
}

/**
 * For a directory that follows the fabric's: an agent can call the moment it is enrolled, which is before
 * we have heard of it. What the authority signed, or the gateway says, proves that there is something to
 * hear, so it is waited for, within bounds. Whether the caller is admitted is decided afterwards.
 */
export function awaitNewcomers(
  directory: Pick<Directory, 'find'>,
  onChange: (listener: () => void) => () => void,
): Newcomers {
  const shares = new Shares(waitingMax, waitingPerNameMax)
  const wait = async (name: string, generation: number): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = onChange(() => {
      if (!isUnheard(directory.find(name), generation)) resolve()
    })
    const timer = setTimeout(resolve, newcomerMs)
    timer.unref()
    shares.take(name)
    await promise
    shares.give(name)
    clearTimeout(timer)
    stop()
  }
  return (name, generation) => {
    if (!isUnheard(directory.find(name), generation) || !shares.hasRoom(name)) return null
    return wait(name, generation)
  }
}
