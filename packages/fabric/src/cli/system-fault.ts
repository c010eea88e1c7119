import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { ExitName } from './exit-codes.ts'

/** The meaning of an error of the operating system for the user who typed the command. */
export interface SystemFault {
  readonly exit: ExitName
  readonly says: string
  readonly next: string
}

interface FileWords {
  /** Of the command line unless stated otherwise: another file would have done. */
  readonly exit?: ExitName
  /** Behind the path; and as a sentence of its own, where no path is known. */
  readonly says: string
  readonly alone?: string
  readonly next: string
}

const choose = 'choose another one'
const owned: FileWords = {
  says: 'may not be used by this user',
  next: 'give this user the right to it, or choose another one',
}
const full: FileWords = {
  exit: 'broken',
  says: 'is on a full disk',
  alone: 'the disk is full',
  next: 'free some space there, then try again',
}
const spent: FileWords = {
  exit: 'broken',
  says: 'could not be opened, since there are no file descriptors left',
  alone: 'there are no file descriptors left',
  next: 'raise the limit of open files (`ulimit -n`), then try again',
}

const fileFaults: Readonly<Record<string, FileWords>> = {
  ENOENT: { says: 'does not exist', next: choose },
  EACCES: owned,
  EPERM: owned,
  NOT_MADE: { says: 'cannot be made there', next: choose },
  EEXIST: { says: 'exists already', next: choose },
  EISDIR: { says: 'is a folder', next: choose },
  ENOTDIR: { says: 'is not a folder', next: choose },
  ELOOP: { says: 'is a link, or leads through links in a circle', next: 'name the file itself' },
  ENAMETOOLONG: { says: 'has a name that is too long', next: choose },
  ENOSPC: full,
  EDQUOT: full,
  EIO: {
    exit: 'broken',
    says: 'cannot be read or written: the disk reports an error',
    alone: 'the disk reports an error',
    next: 'look at the disk and the kernel log, then try again',
  },
  EROFS: {
    exit: 'broken',
    says: 'is on a read-only file system',
    alone: 'the file system is read-only',
    next: 'mount it writable, or choose another one',
  },
  EMFILE: spent,
  ENFILE: spent,
}

/** Of an address to listen on. */
const listenFaults: Readonly<Record<string, Omit<SystemFault, 'exit'>>> = {
  EADDRINUSE: {
    says: 'is in use by another process',
    next: 'stop what holds it, or choose another one (`up --port 0` takes a free one)',
  },
  EACCES: {
    says: 'may not be used by this user',
    next: 'choose one above 1023 (`up --port 0` takes a free one)',
  },
}
const notOfMachine = {
  says: 'is not an address of this machine',
  next: 'choose one that this machine has, such as 127.0.0.1',
}
const hostFaults: Readonly<Record<string, Omit<SystemFault, 'exit'>>> = {
  EADDRNOTAVAIL: notOfMachine,
  EAFNOSUPPORT: notOfMachine,
}

const resolving = 'check its spelling and the name server of this machine, or use an address'
/** Of an address to connect to. */
const connectFaults: Readonly<Record<string, Omit<SystemFault, 'exit'>>> = {
  ECONNREFUSED: { says: 'nothing listens at', next: 'start what should listen there' },
  ENETUNREACH: { says: 'there is no route to', next: 'check the address and the network' },
  EHOSTUNREACH: { says: 'there is no route to', next: 'check the address and the network' },
  ETIMEDOUT: { says: 'no answer came in time from', next: 'check address, port and firewall' },
  ECONNRESET: { says: 'the connection was closed by', next: 'look at the log of the other side' },
}

/** The fault in words, or null where the error is not one of the operating system. */
export function systemFault(error: unknown): SystemFault | null {
  if (!(error instanceof Error) || !('code' in error)) return null
  const code = String(error.code)
  const { path, port, address, hostname, syscall } = error as NodeJS.ErrnoException & {
    readonly [name in 'port' | 'address' | 'hostname']?: unknown
  }
  if (typeof hostname === 'string') {
    const says = `the host name ${hostname} cannot be resolved`
    // The network may come later than this process: a supervisor tries again.
    return { exit: 'unreachable', says, next: resolving }
  }
  if (syscall === 'connect') return connectFault(code, `${String(address)}:${String(port)}`)
  if (syscall === 'listen' || typeof port === 'number') return listenFault(code, { address, port })
  // A new folder that the system reports as nonexistent, as on /proc.
  const kind = code === 'ENOENT' && syscall === 'mkdir' ? 'NOT_MADE' : code
  return fileFault(kind, path ?? null)
}

const ownOf = <Row>(rows: Readonly<Record<string, Row>>, code: string): Row | undefined =>
  Object.hasOwn(rows, code) ? rows[code] : undefined

function connectFault(code: string, where: string): SystemFault | null {
  const fault = ownOf(connectFaults, code)
  return fault === undefined
    ? null
    : { exit: 'unreachable', says: `${fault.says} ${where}`, next: fault.next }
}

function listenFault(
  code: string,
  { address, port }: { readonly address: unknown; readonly port: unknown },
): SystemFault | null {
  const ofPort = ownOf(listenFaults, code)
  if (ofPort !== undefined) {
    return { exit: 'usage', says: `port ${Number(port ?? 0)} ${ofPort.says}`, next: ofPort.next }
  }
  const ofHost = ownOf(hostFaults, code)
  if (ofHost === undefined) return null
  return { exit: 'unreachable', says: `${String(address)} ${ofHost.says}`, next: ofHost.next }
}

function fileFault(code: string, path: string | null): SystemFault | null {
  const fault = ownOf(fileFaults, code)
  if (fault === undefined) return null
  const { exit = 'usage', says, alone, next } = fault
  if (path !== null) {
    const culprit = code === 'ENOTDIR' ? fileAbove(path) : path
    return { exit, says: `${culprit} ${says}`, next }
  }
  return alone === undefined ? null : { exit, says: alone, next }
}

/** The system names the whole path; what is not a folder is one of those above it. */
function fileAbove(path: string): string {
  let culprit = path
  for (let at = resolve(path); at !== dirname(at); at = dirname(at)) {
    try {
      const isFile = statSync(at, { throwIfNoEntry: false })?.isDirectory() === false
      if (isFile) culprit = at
    } catch {
      // Below the file that is looked for.
    }
  }
  return culprit
}
