import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Lab } from './lab.ts'
import type { End, ServerOptions, ServerProcess } from './server-process.ts'

/** One fault of a process: what is broken, and what its operator sees. */
export interface Fault {
  readonly fault: string
  /** The end of the process; `runs` when it has to go on. */
  readonly ends: End | 'runs'
  /** Time that it may take, as the documentation states it. */
  readonly within: string
  /** On stderr; the documentation shows `message`. */
  readonly says: RegExp
  readonly message: string
  /** Before the next start, where the operator has to do something. */
  readonly next: string
  readonly options?: Partial<ServerOptions>
  /**
   * It may also go on and refuse until the repair: the ledger can see the fault before a write
   * fails.
   */
  readonly mayRefuse?: boolean
  /** Tests only root may run: mounts. */
  readonly asRoot?: boolean
  /** Before the server starts; may resolve to more words of its command line. */
  prepare?(lab: Lab): unknown
  /** Breaks the running server; absent for a fault of the start. */
  inject?(lab: Lab, server: ServerProcess): unknown
  /** The repair by the operator; the next start must work after it. */
  repair?(lab: Lab): unknown
}

const errno = { EIO: 5, EMFILE: 24, ENOSPC: 28, EROFS: 30 } as const

const secretOfCa = 'secrets/ca+intermediate.secret'
const atOnce = 'at once'
const twoSeconds = '2 s'
const theStart = 'the start'

function damage(path: string, at: number): void {
  const bytes = readFileSync(path)
  writeFileSync(path, bytes.fill(0x5a, at, at + 64))
}

function holdLock(path: string): () => void {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  return () => database.close()
}

function listenOn(port: number): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer().listen(port, '127.0.0.1', () => resolve(server))
  })
}

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** The resources that a fault holds until the repair. */
const held = new Map<Lab, () => void>()
const letGo = (lab: Lab): void => {
  held.get(lab)?.()
  held.delete(lab)
}

export const startFaults: readonly Fault[] = [
  {
    fault: 'another fabric runs on the data folder',
    ends: 2,
    within: theStart,
    says: /a fabric runs on .* already/,
    message: 'a fabric runs on … already',
    next: 'use that one, or stop it',
    async prepare(lab) {
      const first = lab.start()
      await first.ready()
      held.set(lab, () => first.signal('SIGKILL'))
    },
    repair: letGo,
  },
  {
    fault: 'the ledger is held by a process that no file names',
    ends: 3,
    within: theStart,
    says: /another process has the ledger open/,
    message: 'another process has the ledger open',
    next: 'stop that process',
    prepare: (lab) => held.set(lab, holdLock(join(lab.data, 'ledger/a/lock'))),
    repair: letGo,
  },
  {
    fault: 'the port is taken',
    ends: 2,
    within: theStart,
    says: /port \d+ is in use by another process/,
    message: 'port … is in use by another process',
    next: 'stop what holds it, or `--port`',
    async prepare(lab) {
      const server = await listenOn(0)
      held.set(lab, () => server.close())
      return { words: ['--port', String(portOf(server))] }
    },
    repair: letGo,
  },
  {
    fault: 'the configuration has an unknown key',
    ends: 2,
    within: theStart,
    says: /countersign\.yaml cannot be used/,
    message: '… cannot be used:',
    next: 'correct the file',
    prepare: (lab) => lab.configure({ lissten: {} }),
    repair: (lab) => lab.configure(),
  },
  {
    fault: 'a policy does not compile',
    ends: 3,
    within: theStart,
    says: /broken\.cedar/,
    message: '`<file>.cedar:<line>:<column>: …`',
    next: 'correct the policy',
    prepare: (lab) => writeFileSync(join(lab.data, 'policies/broken.cedar'), 'permit(;'),
    repair: (lab) => rmSync(join(lab.data, 'policies/broken.cedar')),
  },
  {
    fault: 'the disk is full at the start',
    ends: 3,
    within: theStart,
    says: /the disk is full/,
    message: 'the disk is full',
    next: 'free at least 512 MiB',
    asRoot: true,
    prepare(lab) {
      lab.mountData('600m')
      lab.fill()
    },
    repair: (lab) => rmSync(join(lab.data, 'fill')),
  },
  {
    fault: 'the data folder is on a read-only file system',
    ends: 3,
    within: theStart,
    says: /read-only/,
    message: 'the file system is read-only',
    next: 'mount it writable',
    asRoot: true,
    prepare(lab) {
      lab.mountData('600m')
      lab.mount('-o', 'remount,ro', lab.data)
    },
    repair: (lab) => lab.mount('-o', 'remount,rw', lab.data),
  },
  {
    fault: 'other users can write to the data folder',
    ends: 3,
    within: theStart,
    says: /everybody can write to/,
    message: 'everybody can write to …',
    next: '`chmod o-w`',
    prepare: (lab) => chmodSync(lab.data, 0o777),
    repair: (lab) => chmodSync(lab.data, 0o700),
  },
  {
    fault: 'a file is where the data folder should be',
    ends: 2,
    within: theStart,
    says: /is not a folder/,
    message: '… is not a folder',
    next: 'another folder',
    prepare(lab) {
      renameSync(lab.data, lab.path('kept'))
      writeFileSync(lab.data, '')
    },
    repair(lab) {
      rmSync(lab.data)
      renameSync(lab.path('kept'), lab.data)
    },
  },
  {
    fault: 'the data folder cannot be made',
    ends: 2,
    within: theStart,
    says: /the data folder .* cannot be used/,
    message: 'the data folder … cannot be used',
    next: 'another folder, or the right to this one',
    prepare(lab) {
      renameSync(lab.data, lab.path('kept'))
      symlinkSync('/proc/none', lab.data)
    },
    repair(lab) {
      rmSync(lab.data)
      renameSync(lab.path('kept'), lab.data)
    },
  },
  {
    fault: 'the master key is inside the data folder',
    ends: 2,
    within: theStart,
    says: /is inside the data folder/,
    message: 'the master key … is inside the data folder',
    next: 'name a place outside of it by `masterKey.path`',
    prepare: (lab) => lab.configure({ masterKey: { path: join(lab.data, 'master.key') } }),
    repair: (lab) => lab.configure(),
  },
  {
    fault: '`state.db` is damaged',
    ends: 3,
    within: theStart,
    says: /a database is damaged/,
    message: 'a database is damaged',
    next: 'restore it from a backup',
    prepare(lab) {
      cpSync(join(lab.data, 'state.db'), lab.path('state.db'))
      damage(join(lab.data, 'state.db'), 0)
    },
    repair: (lab) => cpSync(lab.path('state.db'), join(lab.data, 'state.db')),
  },
  {
    fault: '`state.db` is locked by another process',
    ends: 3,
    within: theStart,
    says: /another process holds a database/,
    message: 'another process holds a database',
    next: 'stop the other process',
    prepare: (lab) => held.set(lab, holdLock(join(lab.data, 'state.db'))),
    repair: letGo,
  },
  {
    fault: 'the database of the channels is damaged',
    ends: 3,
    within: theStart,
    says: /a database is damaged/,
    message: 'a database is damaged',
    next: 'restore it from a backup',
    prepare(lab) {
      const file = join(lab.data, 'channels/channels.sqlite')
      cpSync(file, lab.path('channels.sqlite'))
      damage(file, 0)
    },
    repair: (lab) =>
      cpSync(lab.path('channels.sqlite'), join(lab.data, 'channels/channels.sqlite')),
  },
  {
    fault: 'the stored head is gone',
    ends: 3,
    within: theStart,
    says: /there are entries, but no stored head/,
    message: 'there are entries, but no stored head',
    next: 'restore it',
    prepare: (lab) => renameSync(join(lab.data, 'ledger/a/head'), lab.path('head')),
    repair: (lab) => renameSync(lab.path('head'), join(lab.data, 'ledger/a/head')),
  },
  {
    fault: 'the stored head is damaged',
    ends: 3,
    within: theStart,
    says: /stored head/,
    message: 'no copy of the stored head is readable',
    next: 'restore it',
    prepare(lab) {
      cpSync(join(lab.data, 'ledger/a/head'), lab.path('head'))
      truncateSync(join(lab.data, 'ledger/a/head'), 0)
    },
    repair: (lab) => cpSync(lab.path('head'), join(lab.data, 'ledger/a/head')),
  },
  {
    fault: 'the master key is gone',
    ends: 3,
    within: theStart,
    says: /does not exist, but there are secrets already/,
    message: '… does not exist, but there are secrets already',
    next: 'put it back',
    prepare: (lab) => renameSync(lab.path('master.key'), lab.path('kept.key')),
    repair: (lab) => renameSync(lab.path('kept.key'), lab.path('master.key')),
  },
  {
    fault: 'the secrets are gone',
    ends: 3,
    within: theStart,
    says: /secrets has no index of secrets, so the key ledger\/a\/log and all others are missing, but/,
    message: '… has no index of secrets, so the key ledger/a/log and all others are missing',
    next: 'restore all of `secrets/`',
    prepare: (lab) => renameSync(join(lab.data, 'secrets'), lab.path('secrets')),
    // The refused start left nothing in its place: a rename into a folder would fail.
    repair: (lab) => renameSync(lab.path('secrets'), join(lab.data, 'secrets')),
  },
  {
    fault: 'one secret is gone',
    ends: 3,
    within: theStart,
    says: /secret ca\/intermediate is missing/,
    message: 'secret … is missing',
    next: 'restore all of `secrets/`',
    prepare: (lab) => renameSync(join(lab.data, secretOfCa), lab.path('secret')),
    repair: (lab) => renameSync(lab.path('secret'), join(lab.data, secretOfCa)),
  },
  {
    fault: 'the ledger’s files cannot be read (EIO)',
    ends: 3,
    within: theStart,
    says: /the disk reports an error/,
    message: 'the disk reports an error',
    next: 'look at the disk',
    prepare: (lab) => lab.failCalls(`open ${errno.EIO} /ledger/a/head`),
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'there are not enough file descriptors to start',
    ends: 3,
    within: theStart,
    says: /no file descriptors left/,
    message: 'there are no file descriptors left',
    next: 'raise the limit of open files',
    prepare: (lab) => lab.failCalls(`open ${errno.EMFILE} /data/ledger`),
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'the clock is two days behind the ledger',
    ends: 3,
    within: theStart,
    says: /clock/,
    message: 'the clock is behind the ledger …',
    next: 'set the clock',
    options: { fault: `clock:-${2 * 86_400_000}` },
  },
]

/** The write-ahead log is the only file that is open for each entry. */
export const runFaults: readonly Fault[] = [
  {
    fault: '`SIGTERM`',
    ends: 0,
    within: '20 s',
    says: /^/,
    message: '',
    next: '',
    inject: (_, server) => server.signal('SIGTERM'),
  },
  {
    fault: '`SIGTERM` twice',
    ends: 75,
    within: atOnce,
    says: /^/,
    message: '',
    next: '',
    options: { fault: 'close-hangs' },
    async inject(_, server) {
      server.signal('SIGTERM')
      // Longer than the handler of the first takes, and shorter than any closer may hang.
      await new Promise((wait) => setTimeout(wait, 1_000))
      server.signal('SIGTERM')
    },
  },
  {
    fault: '`kill -9`, a power loss, the kernel’s memory killer',
    ends: 'SIGKILL',
    within: atOnce,
    says: /^/,
    message: '',
    next: '',
    inject: (_, server) => server.signal('SIGKILL'),
  },
  {
    fault: 'the disk fills up (tmpfs)',
    mayRefuse: true,
    ends: 74,
    within: twoSeconds,
    says: /the disk is full .*\n.*free at least 512 MiB|disk|space/,
    message: 'the disk is full',
    next: 'free at least 512 MiB',
    asRoot: true,
    prepare: (lab) => lab.mountData('600m'),
    async inject(lab, server) {
      lab.fill()
      // Within the second before the ledger measures again, it writes, and the write fails.
      for (let i = 0; i < 20 && server.stderr === ''; i++) {
        lab.writeEntry()
        await lab.command('agent', 'enroll', `more-${i}`)
      }
    },
    repair: (lab) => rmSync(join(lab.data, 'fill')),
  },
  {
    fault: 'a write to the ledger finds no space (ENOSPC)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: the disk is full/,
    message: 'the ledger cannot record: the disk is full',
    next: 'free at least 512 MiB',
    inject(lab) {
      lab.failCalls(`write ${errno.ENOSPC} /ledger/a/wal/`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'a write to the ledger fails (EIO)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: the disk reports an error/,
    message: 'the ledger cannot record: the disk reports an error',
    next: 'look at the disk',
    inject(lab) {
      lab.failCalls(`write ${errno.EIO} /ledger/a/wal/`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'a sync of the ledger fails (EIO)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: the disk reports an error/,
    message: 'the ledger cannot record: the disk reports an error',
    next: 'look at the disk',
    inject(lab) {
      lab.failCalls(`sync ${errno.EIO} /ledger/a/wal/`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'a write of the stored head fails (EIO)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: the disk reports an error/,
    message: 'the ledger cannot record: the disk reports an error',
    next: 'look at the disk',
    inject(lab) {
      lab.failCalls(`write ${errno.EIO} /ledger/a/head`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'a sync of the stored head fails (EIO)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: the disk reports an error/,
    message: 'the ledger cannot record: the disk reports an error',
    next: 'look at the disk',
    inject(lab) {
      lab.failCalls(`sync ${errno.EIO} /ledger/a/head`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'a checkpoint cannot be published (EIO)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: the disk reports an error/,
    message: 'the ledger cannot record: the disk reports an error',
    next: 'look at the disk',
    inject(lab) {
      lab.failCalls(`rename ${errno.EIO} /ledger/a/log/`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'the ledger’s next file cannot be opened: no descriptors (EMFILE)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: there are no file descriptors left/,
    message: 'the ledger cannot record: there are no file descriptors left',
    next: 'raise the limit of open files',
    inject(lab) {
      lab.failCalls(`open ${errno.EMFILE} /ledger/a/log/`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'the file system becomes read-only (EROFS)',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record: the file system is read-only/,
    message: 'the ledger cannot record: the file system is read-only',
    next: 'mount it writable',
    inject(lab) {
      lab.failCalls(`write ${errno.EROFS} /ledger/`, `open ${errno.EROFS} /ledger/`)
      lab.writeEntry()
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'a sync of `state.db` fails (EIO)',
    ends: 74,
    within: twoSeconds,
    says: /the state cannot be kept: the disk reports an error/,
    message: 'the state cannot be kept: the disk reports an error',
    next: 'look at the disk',
    async inject(lab) {
      lab.failCalls(`sync ${errno.EIO} /state.db`)
      await lab.command('agent', 'enroll', 'another')
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'a sync of the channels fails (EIO)',
    ends: 74,
    within: twoSeconds,
    says: /the channels cannot be kept: the disk reports an error/,
    message: 'the channels cannot be kept: the disk reports an error',
    next: 'look at the disk',
    async inject(lab) {
      lab.failCalls(`sync ${errno.EIO} /channels/`)
      await lab.command('channel', 'create', 'orders', '--member', 'operator')
    },
    repair: (lab) => lab.failCalls(),
  },
  {
    fault: 'the data folder is removed',
    ends: 74,
    within: '4 s',
    says: /files of the data folder are gone/,
    message: 'files of the data folder are gone',
    next: 'restore it',
    inject: (lab) => renameSync(lab.data, lab.path('moved')),
    repair: (lab) => renameSync(lab.path('moved'), lab.data),
  },
  {
    fault: 'the thread of the ledger ends',
    ends: 74,
    within: twoSeconds,
    says: /the ledger cannot record/,
    message: 'the ledger cannot record',
    next: '',
    options: { fault: 'thread:ledger-journal' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'the thread of the channels ends',
    ends: 74,
    within: twoSeconds,
    says: /the channels cannot be kept/,
    message: 'the channels cannot be kept',
    next: '',
    options: { fault: 'thread:channel-writer' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'an error that nothing catches',
    ends: 70,
    within: twoSeconds,
    says: /planted/,
    message: 'its stack trace',
    next: 'please report it',
    options: { fault: 'throw' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'a rejection that nothing handles',
    ends: 70,
    within: twoSeconds,
    says: /planted/,
    message: 'its stack trace',
    next: 'please report it',
    options: { fault: 'reject' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'a fatal error, and a closer that throws',
    ends: 70,
    within: twoSeconds,
    says: /planted/,
    message: 'the first error',
    next: '',
    options: { fault: 'close-throws' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'a fatal error, and a closer that hangs',
    ends: 70,
    within: twoSeconds,
    says: /planted/,
    message: 'the first error',
    next: '',
    options: { fault: 'close-hangs' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'a fatal error, and a closer that blocks the event loop',
    ends: 'SIGKILL',
    within: twoSeconds,
    says: /planted/,
    message: 'the first error',
    next: '',
    options: { fault: 'close-blocks' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'a stop, and a closer that throws',
    ends: 75,
    within: '20 s',
    says: /not closed in order/,
    message: 'not closed in order',
    next: '',
    options: { fault: 'close-throws' },
    inject: (_, server) => server.signal('SIGTERM'),
  },
  {
    fault: 'a stop, and a closer that hangs',
    ends: 75,
    within: '20 s',
    says: /not closed in order|did not end in time/,
    message: 'not closed in order',
    next: '',
    options: { fault: 'close-hangs' },
    inject: (_, server) => server.signal('SIGTERM'),
  },
  {
    fault: 'a stop, and a closer that blocks the event loop',
    ends: 'SIGKILL',
    within: '21 s',
    says: /^/,
    message: '',
    next: '',
    options: { fault: 'close-blocks' },
    inject: (_, server) => server.signal('SIGTERM'),
  },
  {
    fault: 'the heap is exhausted',
    ends: 'SIGABRT',
    within: atOnce,
    says: /heap out of memory/,
    message: 'JavaScript heap out of memory',
    next: 'a larger heap, or lower limits',
    options: { fault: 'heap', env: { NODE_OPTIONS: '--max-old-space-size=128' } },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'more connections than there are file descriptors',
    ends: 'runs',
    within: '',
    says: /fewer connections than configured/,
    message: 'fewer connections than configured',
    next: 'raise the limit of open files',
    options: { before: 'ulimit -n 300' },
    async inject(lab, server) {
      const { port } = new URL(String((await server.ready())['origin']))
      const sockets = Array.from({ length: 600 }, () =>
        connect(Number(port), '127.0.0.1').on('error', () => undefined),
      )
      await new Promise((wait) => setTimeout(wait, 1_000))
      // The ledger needs descriptors of its own meanwhile.
      lab.writeEntry()
      await new Promise((wait) => setTimeout(wait, 1_000))
      for (const socket of sockets) socket.destroy()
    },
  },
  {
    fault: 'a policy that does not compile is saved',
    ends: 'runs',
    within: '',
    says: /policies not taken/,
    message: 'policies not taken',
    next: 'correct the policy; the policies before it stay in force',
    inject: (lab) => writeFileSync(join(lab.data, 'policies/broken.cedar'), 'permit(;'),
    repair: (lab) => rmSync(join(lab.data, 'policies/broken.cedar')),
  },
  {
    fault: 'the policy folder cannot be written',
    ends: 'runs',
    within: '',
    says: /policy folder not written/,
    message: 'policy folder not written',
    next: 'give this user the right to it; policies change by `policy.put` meanwhile',
    inject(lab) {
      // The marker of a change cannot be written, also by a user with every right.
      mkdirSync(join(lab.data, 'policies.mirror.json.new'))
      writeFileSync(join(lab.data, 'policies/empty.cedar'), '')
    },
    repair: (lab) => rmSync(join(lab.data, 'policies.mirror.json.new'), { recursive: true }),
  },
  {
    fault: 'the reader of its output goes away',
    ends: 'runs',
    within: '',
    says: /^/,
    message: '',
    next: '',
    inject: (lab, server) => {
      server.closePipes()
      writeFileSync(join(lab.data, 'policies/broken.cedar'), 'permit(;')
    },
    repair: (lab) => rmSync(join(lab.data, 'policies/broken.cedar')),
  },
]

export const connectorFaults: readonly Fault[] = [
  {
    fault: 'connector: `SIGTERM`',
    ends: 0,
    within: '20 s',
    says: /^/,
    message: '',
    next: '',
    inject: (_, server) => server.signal('SIGTERM'),
  },
  {
    fault: 'connector: an error that nothing catches',
    ends: 70,
    within: twoSeconds,
    says: /planted/,
    message: 'its stack trace',
    next: 'please report it',
    options: { fault: 'throw' },
    inject: (_, server) => server.signal('SIGUSR2'),
  },
  {
    fault: 'connector: its port is taken',
    ends: 2,
    within: theStart,
    says: /port \d+ is in use by another process/,
    message: 'port … is in use by another process',
    next: 'stop what holds it, or another port',
    async prepare(lab) {
      const server = await listenOn(0)
      held.set(lab, () => server.close())
      return { words: ['--listen', `127.0.0.1:${portOf(server)}`] }
    },
    repair: letGo,
  },
  {
    fault: 'connector: its identity is damaged',
    ends: 2,
    within: theStart,
    says: /identity/,
    message: 'the stored identity could not be read',
    next: 'enrol again',
    prepare(lab) {
      const folder = join(lab.data, 'agents/caller')
      cpSync(folder, lab.path('caller'), { recursive: true })
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        if (entry.isFile()) writeFileSync(join(folder, entry.name), '{')
      }
    },
    repair(lab) {
      rmSync(join(lab.data, 'agents/caller'), { recursive: true })
      cpSync(lab.path('caller'), join(lab.data, 'agents/caller'), { recursive: true })
    },
  },
]
