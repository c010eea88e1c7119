import { join } from 'node:path'
import type { ConnectorReady } from './connector-process.ts'
import type { FabricReady } from './fabric-process.ts'
import { withReceiver } from './gateway.ts'
import { type Bench, plain, saturate, type Taken } from './hop.ts'
import type { Options } from './options.ts'
import { saturatePeer } from './peers/measure.ts'
import { nginx } from './peers/nginx.ts'
import { start } from './process.ts'
import { missingRow, type Row, row } from './row.ts'

/** Two connectors between a caller and a receiver, every control on, next to two nginx hops. */
export function measureMesh(dir: string, { seconds }: Options): Promise<readonly Row[]> {
  return withReceiver(seconds, async (bench, echo) => {
    const bare = await saturate(bench, plain(bench.direct), echo)
    const taken = await saturateConnectors(bench, dir)
    const baseline = await saturatePeer(bench, nginx, join(dir, 'mesh'))
    return rowsOf(taken, bare, baseline)
  })
}

async function saturateConnectors(bench: Bench, dir: string): Promise<Taken> {
  const upstream = bench.direct
  const fabricDir = join(dir, 'mesh')
  const fabric = await start<FabricReady>('./fabric-process.ts', [fabricDir, 'nothing', upstream])
  const { echoJoin, peerJoin, trustDomain } = fabric.ready
  const ends = [join(dir, 'mesh-echo'), echoJoin, trustDomain, upstream]
  const callee = await start<ConnectorReady>('./connector-process.ts', ends)
  const callers = [join(dir, 'mesh-peer'), peerJoin, trustDomain]
  const caller = await start<ConnectorReady>('./connector-process.ts', callers)
  try {
    return await saturate(bench, plain(`${caller.ready.loopbackUrl}/echo/`), {
      pids: [...callee.pids, ...caller.pids],
      pidsBeside: fabric.pids,
    })
  } finally {
    await caller.stop()
    await callee.stop()
    await fabric.stop()
  }
}

function rowsOf(taken: Taken, bare: Taken, baseline: Taken | null): readonly Row[] {
  const perHop = taken.cpuUs / 2
  return [
    row('mesh.cpu-us-per-hop', perHop, 'µs', {
      ...(baseline === null ? {} : { baseline: nginx.name, ratio: perHop / baseline.cpuUs }),
      note: `half of both connectors; the fabric spends ${Math.round(taken.cpuUsBeside)} µs more to record`,
    }),
    ...(baseline === null
      ? [missingRow(`mesh.cpu-us-per-hop ${nginx.name}`, nginx.howToInstall)]
      : []),
    row('mesh.requests-per-s', taken.perSecond, 'requests/s', {
      baseline: 'direct call',
      ratio: taken.perSecond / bare.perSecond,
      note: 'mutual TLS, signature and countersignature, 1 KB masked, 2 durable entries each',
    }),
    row('mesh.p50-ms', taken.p50Ms, 'ms', { note: '32 at a time, saturated' }),
    row('mesh.p99-ms', taken.p99Ms, 'ms', { note: '32 at a time, saturated' }),
  ]
}
