import { join } from 'node:path'
import { diskRows, measureDisk } from './disk.ts'
import { type FabricFigures, measureFabric, quietPerSecond, saturateFabric } from './fabric-hop.ts'
import { type Bench, connections, plain, saturate, type Taken } from './hop.ts'
import type { Options } from './options.ts'
import { measurePeers } from './peers/measure.ts'
import { latencyBudgetRows, peerRows } from './peers/rows.ts'
import { start } from './process.ts'
import { type Row, row } from './row.ts'

/** The gateway hop with every control on, a direct call, the peers, and the disk, in one run. */
export function measureGateway(dir: string, { seconds }: Options): Promise<readonly Row[]> {
  return withReceiver(seconds, async (bench, echo) => {
    const disk = await measureDisk(dir)
    const bare = await saturate(bench, plain(bench.direct), echo)
    const ours = await measureFabric(bench, join(dir, 'gateway-all'))
    const peers = await measurePeers(bench, dir, ours.halfPerSecond)
    return [
      ...ourRows(ours, bare),
      ...diskRows(disk),
      ...latencyBudgetRows(ours, peers, disk),
      ...peerRows(ours, peers),
    ]
  })
}

/** The gateway hop with each control off in turn. */
export function measureControls(dir: string, { seconds }: Options): Promise<readonly Row[]> {
  return withReceiver(seconds, async (bench) => {
    const rows: Row[] = []
    const full = await saturateFabric(bench, { dir: join(dir, 'controls-all'), without: 'nothing' })
    for (const control of ['ledger', 'redaction', 'rate-limit']) {
      const own = join(dir, `controls-${control}`)
      const { cpuUs, perSecond } = await saturateFabric(bench, { dir: own, without: control })
      rows.push(
        row(`gateway.cpu-us-without-${control}`, cpuUs, 'µs', {
          baseline: 'every control on',
          ratio: cpuUs / full.cpuUs,
          note: `${Math.round(perSecond)} requests/s`,
        }),
      )
    }
    return rows
  })
}

/** Runs `work` with a load generator and a receiver, each a process of its own. */
export async function withReceiver<Result>(
  seconds: number,
  work: (bench: Bench, echo: { readonly pids: readonly number[] }) => Promise<Result>,
): Promise<Result> {
  const echo = await start<{ port: number }>('./echo-process.ts')
  const load = await start<object>('./load-process.ts')
  try {
    return await work({ load, direct: `http://127.0.0.1:${echo.ready.port}/`, seconds }, echo)
  } finally {
    await load.stop()
    await echo.stop()
  }
}

function ourRows(ours: FabricFigures, bare: Taken): readonly Row[] {
  const { taken, added, halfPerSecond, quietCpuUs, rssMb } = ours
  const half = { note: `at ${Math.round(halfPerSecond)} requests/s, half of saturation, open loop` }
  return [
    row('gateway.requests-per-s', taken.perSecond, 'requests/s', {
      baseline: 'direct call',
      ratio: taken.perSecond / bare.perSecond,
      note: `${connections} at a time, mutual TLS, 1 KB of JSON masked, 2 durable entries each`,
    }),
    row('gateway.cpu-us-per-request', taken.cpuUs, 'µs', {
      note: 'saturated; user and system time of the fabric, its threads included',
    }),
    row(`gateway.cpu-us-per-request at ${quietPerSecond} requests/s`, quietCpuUs, 'µs', {
      note: 'open loop',
    }),
    row('gateway.added-p50-ms', added.p50Ms, 'ms', half),
    row('gateway.added-p99-ms', added.p99Ms, 'ms', half),
    row('gateway.rss-mb', rssMb, 'MB', { note: 'from sources, right after saturation' }),
  ]
}
