import { readFileSync } from 'node:fs'

/** The operating system counts in steps of 10 ms. */
const microsecondsPerTick = 10_000

/** User and system time of some processes so far, microseconds, their threads included. */
export function cpuUsOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + ticksOf(pid) * microsecondsPerTick, 0)
}

function ticksOf(pid: number): number {
  // The name of a process may hold spaces and parentheses; the fields follow the last one.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}
