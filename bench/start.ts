import { join } from 'node:path'
import { start } from './process.ts'
import { type Row, row } from './row.ts'

interface FirstReceipt {
  readonly firstReceiptMs: number
}

/** From the start of the process on an empty data folder to the first verified receipt. */
export async function measureStart(dir: string): Promise<readonly Row[]> {
  const fabric = await start<FirstReceipt>('./first-receipt-process.ts', [join(dir, 'start')])
  try {
    // Idle memory is measured once the start's own garbage is gone; a running fabric idles like
    // this.
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    return [
      row('start.first-receipt-ms', fabric.ready.firstReceiptMs, 'ms', {
        note: 'empty data folder, keys and certificates made, agent enrolled, receipt verified',
      }),
      row('start.idle-rss-mb', fabric.rssMb(), 'MB', {
        note: 'server from sources with an SDK agent in the same process; less when built',
      }),
    ]
  } finally {
    await fabric.stop()
  }
}
