import { Shares } from '../lib/limits.ts'
import type { AgentRecord, Directory } from './directory.ts'

/** Requests for which news of the fabric have to come; what is beyond waits for nothing. */
const waitingMax = 256
const waitingPerNameMax = 8
/** Time that each of them waits: `mesh.newcomerMs`. */
export const newcomerMs = 5_000

/** The states that a connector which follows the fabric has received. */
export interface News {
  /** Returns the number of states that have come. */
  count(): number
  /** Reports whether a state that came held the policies of this version. */
  hasHad(policyVersion: string): boolean
  /**
   * Until `isHeard`, within bounds; null where there is nothing to wait for. `name` is whose share
   * of those who wait it is.
   */
  wait(name: string, isHeard: () => boolean): Promise<void> | null
  /**
   * Reports whether the state that the fabric decides by at this moment, or a later one, came
   * within the same bound.
   */
  refresh(): Promise<boolean>
}

/** Null where there is nothing to wait for. */
export type Newcomers = (name: string, generation: number) => Promise<void> | null

/** Reports whether an agent was enrolled under this name in a state that we have not received. */
export function isUnheard(record: AgentRecord | null, generation: number): boolean {
  return record === null || record.generation < generation
}

export function awaitNews(onChange: (listener: () => void) => () => void): News['wait'] {
  const shares = new Shares(waitingMax, waitingPerNameMax)
  const wait = async (name: string, isHeard: () => boolean): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = onChange(() => {
      if (isHeard()) resolve()
    })
    const timer = setTimeout(resolve, newcomerMs)
    timer.unref()
    shares.take(name)
    await promise
    shares.give(name)
    clearTimeout(timer)
    stop()
  }
  return (name, isHeard) => (isHeard() || !shares.hasSpace(name) ? null : wait(name, isHeard))
}

/**
 * For a directory that follows the fabric's: an agent can call the moment it is enrolled, which is
 * before its record has reached us. The authority's signature, or the gateway's statement, proves
 * that there is news to come, so it is waited for, within bounds. The caller's admission is decided
 * afterwards.
 */
export function awaitNewcomers(directory: Pick<Directory, 'find'>, wait: News['wait']): Newcomers {
  return (name, generation) => wait(name, () => !isUnheard(directory.find(name), generation))
}
