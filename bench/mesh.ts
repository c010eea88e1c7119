import { join } from 'node:path'
import type { ConnectorReady } from './connector-process.ts'
import type { FabricReady } from './fabric-process.ts'
import { closed, plain } from './gateway.ts'
import { startNginx } from './nginx.ts'
import { start } from './process.ts'
import { type Row, row } from './row.ts'

/** Two connectors between a caller and a receiver, every control on, next to two nginx hops. */
export async function measureMesh(dir: string): Promise<readonly Row[]> {
  const echo = await start<{ port: number }>('./echo-process.ts')
  const load = await start<object>('./load-process.ts')
  const upstream = `http://127.0.0.1:${echo.ready.port}/`
  const fabricDir = join(dir, 'mesh')
  const fabric = await start<FabricReady>('./fabric-process.ts', [fabricDir, 'nothing', upstream])
  const { echoJoin, peerJoin, trustDomain } = fabric.ready
  const ends = [join(dir, 'mesh-echo'), echoJoin, trustDomain, upstream]
  const callee = await start<ConnectorReady>('./connector-process.ts', ends)
  const callers = [join(dir, 'mesh-peer'), peerJoin, trustDomain]
  const caller = await start<ConnectorReady>('./connector-process.ts', callers)
  try {
    const bare = await closed(load, plain(upstream), echo)
    const both = {
      cpuUs: () => callee.cpuUs() + caller.cpuUs(),
      besideUs: () => fabric.cpuUs(),
    }
    const taken = await closed(load, plain(`${caller.ready.loopbackUrl}/echo/`), both)
    const nginx = await startNginx(join(dir, 'mesh-nginx'), upstream)
    const baseline =
      nginx === null ? null : await closed(load, { ...plain(nginx.url), ca: nginx.ca }, nginx)
    await nginx?.stop()
    const perHop = taken.cpuUs / 2
    return [
      row('mesh.cpu-us-per-hop', perHop, 'µs', {
        ...(baseline === null ? {} : { baseline: 'nginx TLS hop', ratio: perHop / baseline.cpuUs }),
        note: `half of both connectors; the fabric spends ${Math.round(taken.besideUs)} µs more to record`,
      }),
      row('mesh.requests-per-s', taken.perSecond, 'requests/s', {
        baseline: 'direct call',
        ratio: taken.perSecond / bare.perSecond,
        note: 'mutual TLS, signature and countersignature, 1 KB masked, 2 durable entries each',
      }),
      row('mesh.p50-ms', taken.p50Ms, 'ms', { note: '32 connections, saturated' }),
      row('mesh.p99-ms', taken.p99Ms, 'ms', { note: '32 connections, saturated' }),
    ]
  } finally {
    await caller.stop()
    await callee.stop()
    await fabric.stop()
    await load.stop()
    await echo.stop()
  }
}
