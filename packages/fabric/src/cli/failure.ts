import type { RefusalCode } from '@countersign/protocol'
import { AgentError, type FaultCode, RefusedError } from '@countersign/sdk'
import { CommanderError } from 'commander'
import { ConfigError } from '../config/config.ts'
import type { ExitName } from './exit-codes.ts'

/** Why a command could not do its work: what happened, and what its reader can do next. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly exit: ExitName
  /** One sentence, or empty. */
  readonly next: string

  constructor(exit: ExitName, message: string, next = '') {
    super(message)
    this.exit = exit
    this.next = next
  }
}

/** Faults of our own end of the wire that are not ours, by what they mean to a script. */
const exitOfFault: Readonly<Partial<Record<FaultCode, ExitName>>> = {
  JOIN_MALFORMED: 'usage',
  JOIN_MISSING: 'usage',
  REQUEST_MALFORMED: 'usage',
  REQUEST_TOO_LARGE: 'usage',
  FABRIC_UNREACHABLE: 'unreachable',
  IDENTITY_EXPIRED: 'unreachable',
  OUTCOME_UNKNOWN: 'unknown',
  BODY_UNFINISHED: 'unknown',
  MEMORY_FULL: 'unknown',
  SERVER_UNAVAILABLE: 'unreachable',
  ROOT_MISMATCHED: 'no',
  RECEIPT_PENDING: 'pending',
  RECEIPT_REJECTED: 'no',
  RECEIPT_MISMATCHED: 'no',
}

/** Answers to a question that was not refused, or that may have had an effect. */
const exitOfRefusal: Readonly<Partial<Record<RefusalCode, ExitName>>> = {
  OUTCOME_UNKNOWN: 'unknown',
  EXCHANGE_UNKNOWN: 'no',
  EXCHANGE_OPEN: 'pending',
}

/** Every error as one of ours; what nobody expected is internal, and keeps its stack. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  if (error instanceof RefusedError) {
    const where = error.exchange === null ? '' : ` (exchange ${error.exchange})`
    const { statedBy } = error
    const word = statedBy === null ? '' : `, on the word of ${statedBy} alone`
    return new Failure(
      exitOfRefusal[error.code] ?? (statedBy === null ? 'refused' : 'unknown'),
      `${error.code}: ${error.says}${word}${where}`,
      error.next,
    )
  }
  if (error instanceof AgentError) {
    const [what = error.message] = error.message.split('. Next: ')
    return new Failure(exitOfFault[error.code] ?? 'internal', what, error.next)
  }
  if (error instanceof ConfigError) {
    return new Failure(
      'usage',
      error.message,
      'correct the configuration; docs/operate/configure.md lists its keys',
    )
  }
  if (error instanceof CommanderError) {
    return new Failure(
      'usage',
      error.message.replace(/^error: /, ''),
      'add --help to see its options',
    )
  }
  const file = fileFault(error)
  if (file !== null) return file
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new Failure(
    'internal',
    text,
    'this is a fault of countersign: please report the text above',
  )
}

interface FileFault {
  /** Of the command line unless said otherwise: another file would have done. */
  readonly exit?: ExitName
  /** Behind the path; and as a sentence of its own, where no path is known. */
  readonly says: string
  readonly alone?: string
  readonly next: string
}

const choose = 'choose another one'
const owned = {
  says: 'may not be used by this user',
  next: 'give this user the right to it, or choose another one',
}
const full: FileFault = {
  exit: 'broken',
  says: 'is on a full disk',
  alone: 'the disk is full',
  next: 'free some space there, then try again',
}
const spent: FileFault = {
  exit: 'broken',
  says: 'could not be opened, since there are no file descriptors left',
  alone: 'there are no file descriptors left',
  next: 'raise the limit of open files (`ulimit -n`), then try again',
}

const fileFaults: Readonly<Record<string, FileFault>> = {
  ENOENT: { says: 'does not exist', next: choose },
  EACCES: owned,
  EPERM: owned,
  EISDIR: { says: 'is a folder', next: choose },
  ENOTDIR: { says: 'is not a folder', next: choose },
  ENOSPC: full,
  EDQUOT: full,
  EROFS: {
    exit: 'broken',
    says: 'is on a read-only file system',
    alone: 'the file system is read-only',
    next: 'mount it writable, or choose another one',
  },
  EMFILE: spent,
  ENFILE: spent,
}

const portFaults: Readonly<Record<string, Omit<FileFault, 'alone'>>> = {
  EADDRINUSE: {
    says: 'is in use by another process',
    next: 'stop what holds it; `--port 0` takes a free one',
  },
  EACCES: {
    says: 'may not be used by this user',
    next: 'choose one above 1023; `--port 0` takes a free one',
  },
}

function fileFault(error: unknown): Failure | null {
  if (!(error instanceof Error) || !('code' in error)) return null
  const code = String(error.code)
  const path = 'path' in error && typeof error.path === 'string' ? error.path : null
  const port = 'port' in error && typeof error.port === 'number' ? error.port : null
  if (port !== null) {
    const fault = Object.hasOwn(portFaults, code) ? portFaults[code] : undefined
    return fault === undefined
      ? null
      : new Failure('usage', `port ${port} ${fault.says}`, fault.next)
  }
  const fault = Object.hasOwn(fileFaults, code) ? fileFaults[code] : undefined
  if (fault === undefined) return null
  const { exit = 'usage', says, alone, next } = fault
  if (path !== null) return new Failure(exit, `${path} ${says}`, next)
  return alone === undefined ? null : new Failure(exit, alone, next)
}
