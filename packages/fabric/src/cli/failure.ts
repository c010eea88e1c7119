import type { RefusalCode } from '@countersign/protocol'
import { AgentError, type FaultCode, RefusedError } from '@countersign/sdk'
import { CommanderError } from 'commander'
import { ConfigError } from '../config/config.ts'
import { UnusableFile } from '../lib/named-path.ts'
import type { ExitName } from './exit-codes.ts'
import { systemFault } from './system-fault.ts'

/**
 * The reason why a command could not do its work: what happened, and what its reader can do next.
 */
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
  IDENTITY_DAMAGED: 'usage',
  FABRIC_UNREACHABLE: 'unreachable',
  TRUST_MALFORMED: 'unreachable',
  IDENTITY_EXPIRED: 'unreachable',
  OUTCOME_UNKNOWN: 'unknown',
  ANSWER_MALFORMED: 'unknown',
  ANSWER_TOO_LARGE: 'unknown',
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
  EXCHANGE_ERASED: 'no',
  ENTRIES_PRUNED: 'no',
  EXCHANGE_ELSEWHERE: 'unreachable',
  EXCHANGE_OPEN: 'pending',
}

/** Returns every error as one of ours; an unexpected one is internal, and keeps its stack. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  if (error instanceof RefusedError) {
    const where = error.exchange === null ? '' : ` (exchange ${error.exchange})`
    const { statedBy } = error
    const word = statedBy === null ? '' : `, on the word of ${statedBy} alone`
    return new Failure(
      exitOfRefusal[error.code] ?? (statedBy === null ? 'refused' : 'unknown'),
      `${error.code}: ${error.says}${holderOf(error)}${word}${where}`,
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
  if (error instanceof UnusableFile) return new Failure('usage', error.message, error.next)
  const system = systemFault(error)
  if (system !== null) return new Failure(system.exit, system.says, system.next)
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new Failure(
    'internal',
    text,
    'this is a fault of countersign: please report the text above',
  )
}

/** The log that was asked for, and the process to ask. */
function holderOf({ holder }: RefusedError): string {
  if (holder === null) return ''
  const { slot, address } = holder
  return ` (log slot ${slot}, ${address === null ? 'without a holder at a known address' : `at ${address}`})`
}
