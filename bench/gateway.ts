import { join } from 'node:path'
import type { FabricReady } from './fabric-process.ts'
import type { LoadAnswer, LoadOrder } from './load-process.ts'
import { type NginxHop, startNginx } from './nginx.ts'
import { type Child, start } from './process.ts'
import { type Row, row } from './row.ts'

const seconds = 5
/**
 * Compiling the hot path takes as long as this, and its cost does not apply to a server that has
 * been up for an hour.
 */
const warmSeconds = 3
const connections = 32

interface Taken {
  readonly perSecond: number
  readonly cpuUs: number
  /** Time that the process next to the measured one spent on each request; 0 if there is none. */
  readonly besideUs: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** The gateway hop: every control on, each control off in turn, a direct call, and nginx. */
export async function measureGateway(dir: string): Promise<readonly Row[]> {
  const echo = await start<{ port: number }>('./echo-process.ts')
  const load = await start<object>('./load-process.ts')
  const direct = `http://127.0.0.1:${echo.ready.port}/`
  try {
    const bare = await closed(load, plain(direct), echo)
    const rows: Row[] = []
    const full = await measureFabric(load, join(dir, 'gateway-all'), 'nothing', direct)
    const paced = await openLoop(load, plain(direct), full.perSecond / 2)
    const nginx = await measureNginx(load, join(dir, 'nginx'), direct)
    rows.push(
      row('gateway.requests-per-s', full.perSecond, 'requests/s', {
        baseline: 'direct call',
        ratio: full.perSecond / bare.perSecond,
        note: `${connections} connections, mutual TLS, 1 KB of JSON masked, 2 durable entries each`,
      }),
      row('gateway.cpu-us-per-request', full.cpuUs, 'µs', {
        ...(nginx === null ? {} : { baseline: 'nginx TLS hop', ratio: full.cpuUs / nginx.cpuUs }),
        note: 'user and system time of the fabric, its threads included',
      }),
      row('gateway.added-p50-ms', full.half.p50Ms - paced.p50Ms, 'ms', {
        note: `at ${Math.round(full.perSecond / 2)} requests/s, open loop`,
      }),
      row('gateway.added-p99-ms', full.half.p99Ms - paced.p99Ms, 'ms', {
        note: `at ${Math.round(full.perSecond / 2)} requests/s, open loop`,
      }),
    )
    for (const control of ['ledger', 'redaction', 'rate-limit', 'detection'] as const) {
      const without = await measureFabric(load, join(dir, `gateway-${control}`), control, direct)
      rows.push(
        row(`gateway.cpu-us-without-${control}`, without.cpuUs, 'µs', {
          baseline: 'every control on',
          ratio: without.cpuUs / full.cpuUs,
          note: `${Math.round(without.perSecond)} requests/s`,
        }),
      )
    }
    return rows
  } finally {
    await load.stop()
    await echo.stop()
  }
}

async function measureFabric(
  load: Child<object>,
  dir: string,
  without: string,
  upstream: string,
): Promise<Taken & { readonly half: LoadAnswer }> {
  const fabric = await start<FabricReady>('./fabric-process.ts', [dir, without, upstream])
  try {
    const order = secured(fabric.ready)
    const taken = await closed(load, order, fabric)
    const half =
      without === 'nothing'
        ? await openLoop(load, order, taken.perSecond / 2)
        : { requests: 0, failures: 0, seconds: 0, p50Ms: 0, p99Ms: 0 }
    return { ...taken, half }
  } finally {
    await fabric.stop()
  }
}

async function measureNginx(
  load: Child<object>,
  dir: string,
  upstream: string,
): Promise<Taken | null> {
  const nginx: NginxHop | null = await startNginx(dir, upstream)
  if (nginx === null) return null
  try {
    return await closed(load, { ...plain(nginx.url), ca: nginx.ca }, nginx)
  } finally {
    await nginx.stop()
  }
}

export async function closed(
  load: Child<object>,
  order: LoadOrder,
  measured: { cpuUs(): number; besideUs?(): number },
): Promise<Taken> {
  await ask(load, { ...order, seconds: warmSeconds })
  const before = measured.cpuUs()
  const besideBefore = measured.besideUs?.() ?? 0
  const answer = await ask(load, order)
  // The generator warms up with 25 requests a connection, which cost time as well.
  const requests = answer.requests + connections * 25
  return {
    perSecond: answer.requests / answer.seconds,
    cpuUs: (measured.cpuUs() - before) / requests,
    besideUs: ((measured.besideUs?.() ?? 0) - besideBefore) / requests,
    p50Ms: answer.p50Ms,
    p99Ms: answer.p99Ms,
  }
}

function openLoop(load: Child<object>, order: LoadOrder, perSecond: number): Promise<LoadAnswer> {
  return ask(load, { ...order, perSecond })
}

async function ask(load: Child<object>, order: LoadOrder): Promise<LoadAnswer> {
  const answer = await load.ask<LoadAnswer>(order)
  if (answer.failures > 0) throw new Error(`${answer.failures} requests failed at ${order.url}`)
  return answer
}

export function plain(url: string): LoadOrder {
  return {
    url,
    ca: null,
    cert: null,
    key: null,
    headers: {},
    connections,
    seconds,
    perSecond: null,
  }
}

function secured({ origin, ca, cert, key }: FabricReady): LoadOrder {
  return { ...plain(`${origin}/agents/echo/`), ca, cert, key }
}
