import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Percentiles, percentiles } from './percentiles.ts'
import { type Row, row } from './row.ts'

/** Latency of `fdatasync` on the disk of the machine, apart from any ledger. */
export type DiskFigures = Percentiles

/** As long as a small commit of the write-ahead log. */
const writeBytes = 4096
const syncs = 500
/** The first syncs also allocate the file. */
const warmSyncs = 20

/** Appends 4 KiB and calls `fdatasync`, one after another, in a file of its own below `dir`. */
export async function measureDisk(dir: string): Promise<DiskFigures> {
  await mkdir(dir, { recursive: true })
  const path = join(dir, 'fdatasync')
  const file = await open(path, 'w')
  const bytes = Buffer.alloc(writeBytes, 1)
  const latencies: number[] = []
  try {
    for (let i = 0; i < warmSyncs + syncs; i++) {
      await file.write(bytes)
      const started = performance.now()
      await file.datasync()
      if (i >= warmSyncs) latencies.push(performance.now() - started)
    }
  } finally {
    await file.close()
    await rm(path)
  }
  return percentiles(latencies)
}

export function diskRows({ p50Ms, p99Ms }: DiskFigures): readonly Row[] {
  const note = `${syncs} appends of 4 KiB, one after another, where the ledgers of this run are`
  return [
    row('disk.fdatasync-p50-ms', p50Ms, 'ms', { note }),
    row('disk.fdatasync-p99-ms', p99Ms, 'ms'),
  ]
}
