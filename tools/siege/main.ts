import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { toPem } from '../../packages/protocol/src/tls.ts'
import { openIdentity } from '../../packages/sdk/src/index.ts'
import { FabricHost } from '../crash/fabric-host.ts'
import { openParties, type Parties } from '../crash/load-parties.ts'
import { Witness } from '../crash/verdict-witness.ts'
import type { Orders, Report } from './attacker-process.ts'
import { Client } from './client.ts'
import { faultsOf, leftMibMax, type Outcome, type Phase, tableOf } from './report.ts'

const usage = `usage: npm run siege -- [--minutes <0.1 to 1440>] [--only <attack>]

Attacks a server in every way of tools/siege/attacks at once, while a client that behaves makes
calls, sends, receives and fetches receipts; before that, the same client runs without attackers.
Ends with 1 when the client saw a failure, or when the server's memory grew by more than its
documented budgets or did not return.
`
const attackersMax = 3
/** As the launcher of the server sets them (packages/fabric/bin/countersign.js). */
const serverMemory = {
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '1048576',
  MALLOC_ARENA_MAX: '2',
}
const returnMsMax = 60_000

/** Progress is one line that changes on a terminal, and one line each elsewhere. */
function say(line: string, isLasting = true): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001B[2K${line}${isLasting ? '\n' : ''}`)
  else if (isLasting) process.stdout.write(`${line}\n`)
}

interface Options {
  readonly minutes: number
  readonly only: string
}

function readOptions(): Options | null {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '10' },
        only: { type: 'string', default: '' },
      },
    })
    const minutes = Number(values.minutes)
    return minutes >= 0.1 && minutes <= 1440 ? { minutes, only: values.only } : null
  } catch {
    // An unknown option: the usage says which there are.
    return null
  }
}

function attackFiles(only: string): readonly string[] {
  const folder = new URL('./attacks/', import.meta.url)
  const names = readdirSync(folder).filter((name) => name.endsWith('.ts'))
  return names
    .filter((name) => only === '' || name === `${only}.ts`)
    .map((name) => new URL(name, folder).href)
}

function rssMib(pid: number): number | null {
  try {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kib === undefined ? null : Number(kib) / 1024
  } catch {
    return null
  }
}

/** Runs the client for `ms`, and samples the server each second. */
async function watch(
  name: string,
  ms: number,
  { client, pid }: { readonly client: Client; readonly pid: number },
): Promise<Phase> {
  const samples: number[] = []
  const endsAt = performance.now() + ms
  for (let at = 0; performance.now() < endsAt; at++) {
    await sleep(Math.min(1_000, endsAt - performance.now()))
    const rss = rssMib(pid)
    if (rss === null) break
    samples.push(rss)
    const left = Math.max(0, Math.round((endsAt - performance.now()) / 1_000))
    const line = `${name}: ${left} s left, ${Math.round(rss)} MiB, ${client.failures} failures`
    say(line, at % 15 === 0 && !process.stdout.isTTY)
  }
  return { seen: client.take(), rssMib: samples }
}

interface Attackers {
  readonly processes: readonly ChildProcess[]
  rounds(): Readonly<Record<string, number>>
}

const policy = `
permit(principal == Agent::"mallory", action == Action::"call", resource == Agent::"echo");
permit(principal == Agent::"mallory", action == Action::"call", resource == Agent::"evil");
permit(principal == Agent::"mallory", action == Action::"discover", resource);
permit(principal == Agent::"mallory", action == Action::"record", resource);
`

async function openAttackers(
  host: FabricHost,
  parties: Parties,
  { root, files }: { readonly root: string; readonly files: readonly string[] },
): Promise<Attackers> {
  const order = { kind: 'agent', roles: [], segment: '', attributes: {}, ttlSeconds: 900 } as const
  const line = await host.invite({ ...order, name: 'mallory' })
  await host.invite({ ...order, name: 'evil' })
  const dir = join(root, 'mallory')
  const mallory = await openIdentity({
    join: line,
    dir,
    clock: systemClock,
    onFault: () => undefined,
  })
  const { certificateChain, privateKey } = mallory.credential()
  mallory.close()
  await parties.admin('policy.put', { name: 'siege.cedar', text: policy })
  const rounds: Record<string, number> = {}
  const shares = Array.from({ length: Math.min(attackersMax, files.length) }, (_, share) =>
    files.filter((_file, at) => at % attackersMax === share),
  )
  const processes = shares.map((share) =>
    fork(new URL('./attacker-process.ts', import.meta.url), share, {
      execArgv: ['--conditions=countersign-source', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    }),
  )
  const { hostname, port } = new URL(host.origin)
  const orders: Orders = {
    host: hostname,
    port: Number(port),
    cert: certificateChain.map((each) => toPem(each)).join(''),
    key:
      typeof privateKey === 'string'
        ? privateKey
        : privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
  for (const child of processes) {
    const report = await new Promise<Report>((resolve, reject) => {
      child.once('message', resolve)
      child.once('exit', () => reject(new Error('an attacker ended before it began')))
    })
    const evilPort = 'ready' in report ? report.ready.evilPort : null
    if (evilPort !== null) {
      const upstream = `http://127.0.0.1:${evilPort}`
      await parties.admin('route.put', { name: 'evil', upstream, protocol: 'http' })
    }
    child.on('message', (each: Report) => {
      if ('rounds' in each) Object.assign(rounds, each.rounds)
    })
  }
  for (const child of processes) child.send(orders)
  return { processes, rounds: () => rounds }
}

/** The client goes on; resolves with the least memory once it is near what it was, or after a while. */
async function waitForReturn(pid: number, quiet: Phase): Promise<number> {
  const near = Math.max(0, ...quiet.rssMib) + leftMibMax
  const endsAt = performance.now() + returnMsMax
  let least = Number.POSITIVE_INFINITY
  while (performance.now() < endsAt) {
    least = Math.min(least, rssMib(pid) ?? Number.POSITIVE_INFINITY)
    if (least <= near) break
    say(`after: ${Math.round(least)} MiB`, false)
    await sleep(1_000)
  }
  return least
}

async function besiege(root: string, { minutes, only }: Options): Promise<readonly string[]> {
  Object.assign(process.env, serverMemory)
  const host = new FabricHost({ root, port: await freePort(), power: null, limits: '{}' })
  await host.start()
  const pid = host.pid ?? 0
  const parties = await openParties(host, root, new Witness())
  const client = new Client(parties)
  const files = attackFiles(only)
  try {
    const watched = { client, pid }
    // What is loaded and compiled once belongs to neither phase.
    await watch('warm-up', 5_000, watched)
    const quiet = await watch('quiet', Math.max(10_000, minutes * 12_000), watched)
    const attackers = await openAttackers(host, parties, { root, files })
    const siege = await watch('siege', minutes * 60_000, watched)
    for (const child of attackers.processes) child.kill('SIGKILL')
    const afterMib = await waitForReturn(pid, quiet)
    const hasServerEnded = rssMib(pid) === null
    const outcome: Outcome = { quiet, siege, afterMib, hasServerEnded }
    for (const [name, count] of Object.entries(attackers.rounds()))
      say(`  ${name}: ${count} rounds`)
    say(`\n${tableOf(outcome)}\n`)
    const silent = files.length - Object.keys(attackers.rounds()).length
    return [...faultsOf(outcome), ...(silent > 0 ? [`${silent} attacks ended no round`] : [])]
  } finally {
    await client.close()
    await parties.close()
    await host.stop(15_000)
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

const options = readOptions()
if (options === null) {
  process.stderr.write(usage)
  process.exitCode = 2
} else {
  const root = mkdtempSync(join(tmpdir(), 'countersign-siege-'))
  mkdirSync(join(root, 'identities'), { recursive: true })
  const faults = await besiege(root, options)
  for (const fault of faults) say(`FAILED ${fault}`)
  if (faults.length === 0) say('the server withstood the siege')
  rmSync(root, { recursive: true, force: true })
  process.exitCode = faults.length === 0 ? 0 : 1
}
