import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { vi } from 'vitest'
import type { PostgresTarget } from '../../packages/fabric/src/adapters/postgresql/session.ts'
import { deadline } from './deadline.ts'
import { openTlsAuthority } from './tls-authority.ts'

/** A PostgreSQL server of one test file, on a free port of the loopback address. */
export interface PostgresServer {
  readonly host: string
  readonly port: number
  /** A superuser of this server. */
  readonly user: string
  readonly password: string
  /** Of the server's certificate; null if it was started without TLS. */
  readonly caPem: string | null
  /** The URL of a database, without the password, as a configuration names it. */
  url(database?: string, via?: { readonly host?: string; readonly port?: number }): string
  query(sql: string, values?: readonly unknown[], database?: string): Promise<readonly Row[]>
  /** Returns the name of a new, empty database. */
  createDatabase(): Promise<string>
  /** Ends the server at once, as a crash does, and starts it again on the same data. */
  crash(): Promise<void>
  /** As `crash`, and the server comes back as a standby that was promoted. */
  failOver(): Promise<void>
  close(): Promise<void>
}

export type Row = Readonly<Record<string, unknown>>

const user = 'engines'
const password = 'password-of-engines'
const database = 'postgres'
/** Another process may take the port between its choice and the start. */
const startsMax = 5

/** The newest PostgreSQL of this machine, or null; Debian keeps it outside of the path. */
export function findPostgres(): string | null {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).map(Number) : []
  const folders = [
    ...versions.toSorted((a, b) => b - a).map((version) => join(debian, String(version), 'bin')),
    ...(process.env['PATH'] ?? '').split(delimiter),
  ]
  return folders.find((folder) => existsSync(join(folder, 'initdb'))) ?? null
}

/** Starts a server of its own. `tls` also refuses connections without TLS. */
export async function startPostgres({ tls = false } = {}): Promise<PostgresServer> {
  const programs = findPostgres()
  if (programs === null) throw new Error('PostgreSQL is not installed')
  const owner = ownerOf()
  const folder = mkdtempSync(join(tmpdir(), 'countersign-postgres-'))
  const cluster = { programs, owner, folder, data: join(folder, 'data') }
  try {
    if (owner !== null) chownSync(folder, owner.uid, owner.gid)
    initialize(cluster)
    const caPem = tls ? await writeCredential(cluster) : null
    let running = await start(cluster)
    const { port } = running
    const query: PostgresServer['query'] = (sql, values = [], name = database) =>
      queryOnce({ port, tls, database: name }, sql, values)
    let databases = 0
    return {
      ...{ host: '127.0.0.1', port, user, password, caPem, query },
      url: (name = database, via = {}) =>
        `postgresql://${user}@${via.host ?? '127.0.0.1'}:${via.port ?? port}/${name}`,
      async createDatabase() {
        const name = `database_${databases++}`
        await query(`CREATE DATABASE ${name}`)
        return name
      },
      async crash() {
        await end(running.child, 'SIGQUIT')
        running = await start(cluster, port)
      },
      async failOver() {
        await end(running.child, 'SIGQUIT')
        writeFor(owner, join(cluster.data, 'standby.signal'), '')
        running = await start(cluster, port)
        await query('SELECT pg_promote(true)')
      },
      async close() {
        await end(running.child, 'SIGINT')
        rmSync(folder, { recursive: true, force: true })
      },
    }
  } catch (cause) {
    rmSync(folder, { recursive: true, force: true })
    throw cause
  }
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

interface Cluster {
  readonly programs: string
  readonly owner: Owner | null
  readonly folder: string
  readonly data: string
}

/** PostgreSQL refuses to run as root: then it runs as its own user, or as `nobody`. */
function ownerOf(): Owner | null {
  if (process.getuid?.() !== 0) return null
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((line) => line.startsWith(`${name}:`))?.split(':') ?? []
    if (uid !== undefined) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error(
    'PostgreSQL does not run as root, and neither a user postgres nor a user nobody exists',
  )
}

function initialize({ programs, owner, folder, data }: Cluster): void {
  const passwordFile = join(folder, 'password')
  writeFor(owner, passwordFile, `${password}\n`)
  const made = spawnSync(
    join(programs, 'initdb'),
    [
      ...['--pgdata', data, '--username', user, '--pwfile', passwordFile],
      ...['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C', '--no-sync'],
    ],
    { ...owner, cwd: folder, encoding: 'utf8' },
  )
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stdout}${made.stderr}`)
}

async function writeCredential({ owner, data }: Cluster): Promise<string> {
  const authority = await openTlsAuthority()
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] }
  const { keyPem, certPem } = await authority.issue(names)
  writeFor(owner, join(data, 'server.key'), keyPem)
  writeFor(owner, join(data, 'server.crt'), certPem)
  writeFor(owner, join(data, 'postgresql.auto.conf'), 'ssl = on\n')
  writeFor(owner, join(data, 'pg_hba.conf'), 'hostssl all all 127.0.0.1/32 scram-sha-256\n')
  return authority.caPem
}

function writeFor(owner: Owner | null, path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 })
  chmodSync(path, 0o600)
  if (owner !== null) chownSync(path, owner.uid, owner.gid)
}

interface Running {
  readonly child: ChildProcess
  readonly port: number
}

async function start(cluster: Cluster, samePort?: number): Promise<Running> {
  for (let attempt = 1; ; attempt++) {
    const port = samePort ?? (await freePort())
    const { child, log } = run(cluster, port)
    if (await answers(child, port)) return { child, port }
    await end(child, 'SIGKILL')
    if (attempt === startsMax) throw new Error(`PostgreSQL does not start: ${log()}`)
  }
}

function run({ programs, owner, folder, data }: Cluster, port: number) {
  const settings = {
    ...{ listen_addresses: '127.0.0.1', port, unix_socket_directories: '' },
    // The name that the operating system gives to memory shared on the whole machine.
    ...{ max_connections: 60, shared_buffers: '16MB', dynamic_shared_memory_type: 'mmap' },
  }
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  let text = ''
  const child = spawn(join(programs, 'postgres'), ['-D', data, ...options], {
    ...{ ...owner, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    text = `${text}${chunk.toString()}`.slice(-4096)
  })
  // A worker that is ended before it tidies up leaves no server behind.
  const kill = () => void child.kill('SIGQUIT')
  process.once('exit', kill)
  child.once('close', () => process.off('exit', kill))
  return { child, log: () => text }
}

/** A real answer: an open port may be that of another process, or of a server that recovers. */
async function answers(child: ChildProcess, port: number): Promise<boolean> {
  return vi.waitFor(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return false
    await queryOnce({ port, tls: false, database }, 'SELECT 1', []).catch((error: unknown) => {
      if (!demandsTls(error)) throw error
    })
    return true
  }, deadline)
}

/** `invalid_authorization_specification`: the server that demands TLS is up. */
function demandsTls(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '28000'
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

/** A database of the server, as the adapters name one. */
export function targetOf(
  { host, port, user, password, caPem }: PostgresServer,
  via: { readonly host?: string; readonly port?: number; readonly database?: string } = {},
): PostgresTarget {
  return {
    ...{ host, port, user, database },
    ...via,
    password: async () => password,
    tls: caPem === null ? null : { ca: caPem },
  }
}

/** The part of the vendor's client that is used; its package brings no types. */
interface Client {
  connect(): Promise<void>
  query(sql: string, values: readonly unknown[]): Promise<{ readonly rows: readonly Row[] }>
  end(): Promise<void>
  on(event: 'error', listener: () => void): void
}

const driver: string = 'pg'

async function queryOnce(
  { port, tls, database: name }: { port: number; tls: boolean; database: string },
  sql: string,
  values: readonly unknown[],
): Promise<readonly Row[]> {
  const loaded = (await import(driver)) as { Client: new (options: object) => Client }
  const client = new loaded.Client({
    ...{
      host: '127.0.0.1',
      port,
      user,
      password,
      database: name,
      options: '-c client_min_messages=error',
    },
    ssl: tls ? { rejectUnauthorized: false } : false,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await client.query(sql, values)).rows
  } finally {
    await client.end().catch(() => undefined)
  }
}
