import { readdir, readFile } from 'node:fs/promises'

/**
 * Maximum number of files and sockets that this process may have open; null if the system does not
 * state it.
 */
export async function openFilesMax(): Promise<number | null> {
  const text = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  const found = /^Max open files\s+(\d+)/m.exec(text)?.[1]
  return found === undefined ? null : Number(found)
}

export async function openFiles(): Promise<number | null> {
  const names = await readdir('/proc/self/fd').catch(() => null)
  // One of them is the folder that was just read.
  return names === null ? null : names.length - 1
}

/** For files of the stores, threads, and connections to receivers that no caller waits for. */
const reserved = 128

/**
 * The connections that can be accepted: each may need a second descriptor, for the receiver.
 * Without this bound a flood of connections takes the descriptors that the ledger needs for its
 * next file, and ends the process.
 */
export function fittingConnections(asked: number, filesMax: number | null): number {
  if (filesMax === null) return asked
  return Math.max(1, Math.min(asked, Math.floor((filesMax - reserved) / 2)))
}

/**
 * The connections to receivers that there may be with them, by the same count; null for any number.
 */
export function fittingUpstreams(filesMax: number | null): number | null {
  return filesMax === null ? null : fittingConnections(Number.POSITIVE_INFINITY, filesMax)
}

/**
 * The exchanges that one caller can have open, each with a connection to a receiver: half of these,
 * so that no caller takes all of them.
 */
export function fittingExchanges(asked: number, filesMax: number | null): number {
  const upstreams = fittingUpstreams(filesMax)
  return upstreams === null ? asked : Math.max(1, Math.min(asked, Math.floor(upstreams / 2)))
}
