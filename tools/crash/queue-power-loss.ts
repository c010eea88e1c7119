import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Runs any program on a disk that forgets (lossy-disk.c), and lets the power fail:
 *
 *     const disk = buildLossyDisk(scratch)
 *     const child = spawn(command, { env: { ...process.env, ...disk.environment(dataDirectory) } })
 *     child.kill('SIGKILL')                      // then, after its exit:
 *     disk.loseUnsynced(dataDirectory, () => 0)  // nothing unsynced survived
 *
 * It works for every program that reaches the system through the C library: Node with SQLite, and
 * the fabric's ledger just as well.
 */
export interface LossyDisk {
  environment(directory: string): Readonly<Record<string, string>>
  /**
   * Takes unsynced writes back, newest first. `keep` returns for each file how many of its `count`
   * unsynced writes had reached the disk by themselves, oldest first. Returns how many were lost.
   */
  loseUnsynced(directory: string, keep: (count: number) => number): number
}

/** Returns the reason why this machine cannot run it, or null when it can. */
export function lossyDiskMissing(): string | null {
  if (process.platform !== 'linux') return 'preloading needs Linux'
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' })
    return null
  } catch {
    return 'no gcc on this machine'
  }
}

export function buildLossyDisk(scratch: string): LossyDisk {
  mkdirSync(scratch, { recursive: true })
  const library = join(scratch, 'lossy-disk.so')
  const source = fileURLToPath(new URL('./lossy-disk.c', import.meta.url))
  execFileSync('gcc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl', '-lpthread'])
  return {
    environment(directory) {
      const undo = undoOf(directory)
      rmSync(undo, { recursive: true, force: true })
      mkdirSync(undo, { recursive: true })
      return {
        LD_PRELOAD: library,
        LOSSY_DIRECTORY: directory,
        LOSSY_UNDO: undo,
        UV_USE_IO_URING: '0',
      }
    },
    loseUnsynced(directory, keep) {
      const undo = undoOf(directory)
      let lost = 0
      for (const file of readdirSync(undo)) {
        if (file.endsWith('.undo')) lost += playBackwards(readFileSync(join(undo, file)), keep)
      }
      const names = join(undo, 'names')
      // Names come last: a file that goes needs no content.
      for (const path of existsSync(names) ? readFileSync(names, 'utf8').split('\n') : []) {
        if (path !== '') rmSync(path, { force: true })
      }
      rmSync(undo, { recursive: true, force: true })
      return lost
    },
  }
}

const undoOf = (directory: string): string => `${directory}.undo`

/** The length of the first part of a log, which names its file (PATH_MAX of Linux). */
const nameBytes = 4096
const entryBytes = 24

interface Undo {
  readonly offset: number
  readonly oldSize: number
  readonly bytes: Uint8Array
}

function playBackwards(log: Uint8Array, keep: (count: number) => number): number {
  const path = Buffer.from(log.subarray(0, nameBytes)).toString().replace(/\0+$/, '')
  const entries = readEntries(log)
  if (entries.length === 0 || !existsSync(path)) return 0
  const kept = keep(entries.length)
  const file = openSync(path, 'r+')
  try {
    for (const { offset, oldSize, bytes } of entries.slice(kept).toReversed()) {
      if (bytes.length > 0) writeSync(file, bytes, 0, bytes.length, offset)
      ftruncateSync(file, oldSize)
    }
  } finally {
    closeSync(file)
  }
  return entries.length - kept
}

function readEntries(log: Uint8Array): readonly Undo[] {
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength)
  const entries: Undo[] = []
  let at = nameBytes
  while (at + entryBytes <= log.length) {
    const [offset, oldSize, length] = [0, 8, 16].map((i) => Number(view.getBigUint64(at + i, true)))
    const start = at + entryBytes
    // The program was killed in the middle of an entry, so before the write that it announces.
    if (offset === undefined || oldSize === undefined || start + (length ?? 0) > log.length) break
    entries.push({ offset, oldSize, bytes: log.subarray(start, start + (length ?? 0)) })
    at = start + (length ?? 0)
  }
  return entries
}
