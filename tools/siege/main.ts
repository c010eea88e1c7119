import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { toPem } from '../../packages/protocol/src/tls.ts'
import { channelOf } from '../../packages/sdk/src/channel/agent-channel.ts'
import { openAgent, openIdentity, parseJoin } from '../../packages/sdk/src/index.ts'
import { decidedIn } from '../../test/harness/entries.ts'
import { FabricHost } from '../crash/fabric-host.ts'
import { openParties, type Parties } from '../crash/load-parties.ts'
import { Observer } from '../crash/verdict-observer.ts'
import { serverMemory } from '../server-memory.ts'
import type { Orders, Report } from './attacker-process.ts'
import { ownIntent } from './attacks/open-intents.ts'
import { Client } from './client.ts'
import {
  faultsOf,
  leakFaults,
  leftMibMax,
  type Outcome,
  type Phase,
  tableOf,
  tallyTable,
} from './report.ts'
import { type Tally, tallyFaults } from './tally.ts'

const usage = `usage: npm run siege -- [--minutes <0.1 to 1440>] [--only <attack>,…] [--times <1 to 100>]

Attacks a server in every way of tools/siege/attacks at once, while a client that behaves makes
calls, sends, receives and fetches receipts; before that, the same client runs without attackers.
Ends with 1 when the client saw a failure, when the server's memory grew by more than its documented
budgets or did not return, or when an attack had no effect and so showed nothing. With --times, the
sieges follow one another, and memory that grows from one to the next is a leak.
`
const attackersMax = 3
const returnMsMax = 60_000

/** Progress is one line that changes on a terminal, and one line each elsewhere. */
function say(line: string, isLasting = true): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001B[2K${line}${isLasting ? '\n' : ''}`)
  else if (isLasting) process.stdout.write(`${line}\n`)
}

interface Options {
  readonly minutes: number
  readonly only: string
  /** Sieges of the same server, one after the other. */
  readonly times: number
}

function readOptions(): Options | null {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '10' },
        only: { type: 'string', default: '' },
        times: { type: 'string', default: '1' },
      },
    })
    const minutes = Number(values.minutes)
    const times = Number(values.times)
    const isTimes = Number.isInteger(times) && times >= 1 && times <= 100
    return minutes >= 0.1 && minutes <= 1440 && isTimes
      ? { minutes, only: values.only, times }
      : null
  } catch {
    // An unknown option: the usage lists the known ones.
    return null
  }
}

function attackFiles(only: string): readonly string[] {
  const folder = new URL('./attacks/', import.meta.url)
  const names = readdirSync(folder).filter((name) => name.endsWith('.ts'))
  return names
    .filter((name) => only === '' || only.split(',').includes(name.slice(0, -'.ts'.length)))
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
  readonly names: readonly string[]
  tallies(): Readonly<Record<string, Tally>>
}

const policy = `
permit(principal == Agent::"mallory", action == Action::"call", resource == Agent::"echo");
permit(principal == Agent::"mallory", action == Action::"call", resource == Agent::"evil");
permit(principal == Agent::"mallory", action == Action::"call", resource == Agent::"mesh-echo");
permit(principal == Agent::"mallory", action == Action::"call", resource == Agent::"mallory");
permit(principal == Agent::"mallory", action == Action::"discover", resource);
permit(principal == Agent::"mallory", action == Action::"record", resource);
permit(principal == Agent::"mallory", action in [Action::"publish", Action::"consume"], resource is Channel);
`
const decisionFacts = new Set(['policy.version', 'policy.rules', 'private.request'])
const order = { kind: 'agent', roles: [], segment: '', attributes: {}, ttlSeconds: 900 } as const
/** The messages on the channel for the attacker to lease: a few times what one lease brings. */
const messages = 12
const messageBytes = 500_000

interface Ground {
  readonly orders: Orders
  close(): Promise<void>
}

/** Sets up the targets of the attackers and their identities. */
async function prepare(host: FabricHost, parties: Parties, root: string): Promise<Ground> {
  const { mallory, join, decision } = await enrolMallory(host, parties, root)
  await host.invite({ ...order, name: 'evil' })
  const served = await openServed(host, root)
  const { hostname, port } = new URL(host.origin)
  const { connectors } = parties
  const doors = {
    mesh: portOf(connectors.callee.meshUrl ?? ''),
    loopback: portOf(connectors.caller.loopbackUrl),
    sdk: served.port,
  }
  const orders = { host: hostname, port: Number(port), ...mallory, join, decision, doors }
  return { orders, close: served.close }
}

async function openAttackers(
  { orders }: Ground,
  parties: Parties,
  files: readonly string[],
): Promise<Attackers> {
  const tallies: Record<string, Tally> = {}
  const shares = Array.from({ length: Math.min(attackersMax, files.length) }, (_, share) =>
    files.filter((_file, at) => at % attackersMax === share),
  )
  const processes = shares.map((share) =>
    fork(new URL('./attacker-process.ts', import.meta.url), share, {
      execArgv: ['--conditions=countersign-source', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    }),
  )
  const names: string[] = []
  for (const child of processes) {
    const ready = await readyOf(child)
    names.push(...ready.names)
    if (ready.evilPort !== null) {
      const upstream = `http://127.0.0.1:${ready.evilPort}`
      await parties.admin('route.put', { name: 'evil', upstream, protocol: 'http' })
    }
    child.on('message', (each: Report) => {
      if ('tallies' in each) Object.assign(tallies, each.tallies)
    })
  }
  for (const child of processes) child.send(orders)
  return { processes, names, tallies: () => tallies }
}

/** The one identity that the attackers have, with something to lease. */
async function enrolMallory(host: FabricHost, parties: Parties, root: string) {
  const join = await host.invite({ ...order, name: 'mallory' })
  const mallory = await openIdentity({
    ...{ join, dir: path.join(root, 'mallory'), clock: systemClock },
    onFault: () => undefined,
  })
  const { taken } = await parties.admin<{ readonly taken: boolean }>('policy.put', {
    ...{ name: 'siege.cedar', text: policy },
  })
  if (!taken) throw new Error('the policy of the siege was not taken')
  await parties.admin('channel.create', { name: 'siege', members: ['mallory'] })
  const channel = channelOf(mallory, 'siege', { clock: systemClock })
  for (let at = 0; at < messages; at++) await channel.send(randomBytes(messageBytes))
  const { certificateChain, privateKey } = mallory.credential()
  mallory.close()
  const { keyId, privateKey: signingKey } = mallory.signing
  const signing = { keyId, key: signingKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
  const isText = typeof privateKey === 'string'
  const key = isText ? privateKey : privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const cert = certificateChain.map((each) => toPem(each)).join('')
  const decision = await ownDecision(parties)
  return { mallory: { cert, key, signing }, join: parseJoin(join).token, decision }
}

/**
 * Returns the decision that an honest connector of mallory would state of a call of mallory to
 * itself.
 */
async function ownDecision({ admin }: Parties): Promise<Readonly<Record<string, string>>> {
  const [decided] = await decidedIn({ admin }, [ownIntent()])
  const stated = Object.entries(decided?.facts ?? {}).filter(([name]) => decisionFacts.has(name))
  return Object.fromEntries(stated.map(([name, value]) => [name, String(value)]))
}

async function openServed(host: FabricHost, root: string) {
  const join = await host.invite({ ...order, name: 'served' })
  const agent = await openAgent({ join, dir: path.join(root, 'served') })
  const { port } = await agent.serve(() => new Response('ok'))
  return { port, close: () => agent.close() }
}

function portOf(url: string): number {
  return Number(new URL(url).port)
}

async function readyOf(child: ChildProcess) {
  const report = await new Promise<Report>((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', () => reject(new Error('an attacker ended before it began')))
  })
  if (!('ready' in report)) throw new Error('an attacker began before it was told to')
  return report.ready
}

/**
 * The client goes on; resolves with the least memory once it is near what it was, or after a while.
 */
async function waitForReturn(pid: number, near: number): Promise<number> {
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

interface Field {
  readonly watched: { readonly client: Client; readonly pid: number }
  readonly ground: Ground
  readonly parties: Parties
  readonly quiet: Phase
}

/** One siege, and what is left of it. */
async function fightOnce(
  { minutes, only, times }: Options,
  { watched, ground, parties, quiet }: Field,
): Promise<{ readonly outcome: Outcome; readonly faults: readonly string[] }> {
  const attackers = await openAttackers(ground, parties, attackFiles(only))
  const siege = await watch('siege', minutes * 60_000, watched)
  for (const child of attackers.processes) child.kill('SIGKILL')
  // One siege is over once the memory is back; several are compared after the same time.
  const near = times === 1 ? Math.max(0, ...quiet.rssMib) + leftMibMax : 0
  const afterMib = await waitForReturn(watched.pid, near)
  const outcome = { quiet, siege, afterMib, hasServerEnded: rssMib(watched.pid) === null }
  say(`${tallyTable(attackers.names, attackers.tallies())}\n\n${tableOf(outcome)}\n`)
  const silent = tallyFaults(attackers.names, attackers.tallies())
  return { outcome, faults: [...faultsOf(outcome), ...silent] }
}

async function besiege(root: string, options: Options): Promise<readonly string[]> {
  Object.assign(process.env, serverMemory())
  const host = new FabricHost({ root, port: await freePort(), power: null, limits: '{}' })
  await host.start()
  const parties = await openParties(host, root, new Observer())
  const client = new Client(parties)
  try {
    const watched = { client, pid: host.pid ?? 0 }
    const ground = await prepare(host, parties, root)
    // Code that is loaded and compiled once belongs to neither phase.
    await watch('warm-up', 5_000, watched)
    const quiet = await watch('quiet', Math.max(10_000, options.minutes * 12_000), watched)
    const faults: string[] = []
    const afterMib: number[] = []
    for (let at = 0; at < options.times; at++) {
      const fought = await fightOnce(options, { watched, ground, parties, quiet })
      faults.push(...fought.faults)
      afterMib.push(fought.outcome.afterMib)
    }
    await ground.close()
    return [...faults, ...leakFaults(afterMib)]
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
  const root = mkdtempSync(path.join(tmpdir(), 'countersign-siege-'))
  mkdirSync(path.join(root, 'identities'), { recursive: true })
  const faults = await besiege(root, options)
  for (const fault of faults) say(`FAILED ${fault}`)
  if (faults.length === 0) say('the server withstood the siege')
  rmSync(root, { recursive: true, force: true })
  process.exitCode = faults.length === 0 ? 0 : 1
}
