import type { Surroundings } from './compose-stores.ts'
import { type DiskWatch, watchDisk } from './observe/disk-watch.ts'
import { fittingConnections, openFilesMax } from './observe/open-files.ts'

/** Four times what the ledger keeps free: time to act before the first refusal. */
const lowSpaceBytes = 1024 * 1024 * 1024

export function openDiskWatch({
  config: { dataDir },
  log,
  onFatal,
}: Surroundings): Promise<DiskWatch> {
  const inMiB = (bytes: number): number => Math.floor(bytes / 1024 / 1024)
  return watchDisk({
    dataDir,
    warnBytes: lowSpaceBytes,
    onLow: (bytes) =>
      log('little space left; the ledger refuses below 256 MiB', { 'free MiB': inMiB(bytes) }),
    onEnough: (bytes) => log('enough space again', { 'free MiB': inMiB(bytes) }),
    onGone: (cause) => onFatal('the data folder cannot be used', cause),
  })
}

/** As many as configured, or as this process can hold beside the files of its stores. */
export async function connectionsMax({ config, log }: Surroundings): Promise<number> {
  const { connections } = config.limits
  const files = await openFilesMax()
  const fitting = fittingConnections(connections, files)
  if (fitting < connections) {
    log('fewer connections than configured', { connections: fitting, 'open files': files ?? 0 })
  }
  return fitting
}
