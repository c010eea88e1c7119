import type { EnrollmentGrant } from '@countersign/protocol'
import { createId } from '@countersign/protocol'
import type { EntryFeed } from '../ledger/entry-feed.ts'
import type { EntryPurpose, Ledger } from '../ledger/ledger.ts'
import { Refusal } from '../lib/refusal.ts'
import { writable } from '../pipeline/ending.ts'
import type { PipelineDeps } from '../pipeline/enforce.ts'
import { refusalOfFailure } from '../pipeline/record.ts'
import { formatProblem } from '../policy/compile-policies.ts'
import type { RecordPolicyChange } from '../policy/policy-change.ts'
import type { Environment, Stores } from './stores.ts'

export const fabricVersion = '0.1.0'

/** Further warnings of one set of policies are only counted: the log is for people. */
const warningsLogged = 100

/** Logs what is doubtful about the policies in force, now and after each change. */
export function logPolicyWarnings(
  { log }: Pick<Environment, 'log'>,
  { policy }: Pick<Stores, 'policy'>,
): () => void {
  const warn = (): void => {
    const { warnings } = policy.current
    for (const warning of warnings.slice(0, warningsLogged)) {
      log('a policy is doubtful', { warning: formatProblem(warning) })
    }
    if (warnings.length <= warningsLogged) return
    log('more policies are doubtful; `countersign policy check` lists them', {
      count: warnings.length - warningsLogged,
    })
  }
  warn()
  return policy.onChange(warn)
}

/**
 * Puts the policies that decide on record, like their decisions: files change without a request to
 * the fabric.
 */
export function recordPolicyChanges(environment: Environment, feed: EntryFeed): RecordPolicyChange {
  return ({ version, files, changedBy }) => {
    const change = { object: writable(files.join(' ')), 'changed-by': changedBy.join(' ') }
    const what = { event: 'policies-changed', ...change } as const
    const recording = recordLifecycle(environment, feed, { ...what, 'policy.version': version })
    return recording.then(() => null, refusalOfFailure)
  }
}

/**
 * Records enrolments, renewals and issued tokens: on record before the agent receives the answer,
 * like every decision.
 */
export async function recordMember(
  { clock, random }: Environment,
  deps: PipelineDeps,
  event: 'enrolled' | 'renewed' | 'token-issued',
  facts: Readonly<Record<string, string | number>>,
): Promise<void> {
  const at = clock.now()
  const exchange = createId('dec', at, random(10))
  const entry = { exchange, at, kind: 'lifecycle', facts: { event, ...facts } } as const
  // A token is on record before its agent has it; a change of the directory is already in effect
  // when it is recorded.
  await deps.append(event === 'token-issued' ? entry : { ...entry, purpose: 'lifecycle' })
}

/** Null when what is about to change can go on record; otherwise nothing may be changed. */
export async function outOfSpaceFor(
  purpose: EntryPurpose | null,
  ledger: Pick<Ledger, 'assertSpace'>,
): Promise<Refusal | null> {
  return ledger.assertSpace(purpose).then(() => null, refusalOfFailure)
}

export async function recordGrant(
  around: Environment,
  deps: PipelineDeps,
  event: 'enrolled' | 'renewed',
  answer: EnrollmentGrant | Refusal,
): Promise<EnrollmentGrant | Refusal> {
  // A refusal is recorded where it is answered.
  if (answer instanceof Refusal) return answer
  const { spiffeId, expiresAt } = answer
  await recordMember(around, deps, event, { agent: spiffeId, 'expires-at': expiresAt })
  return answer
}

export interface Lifecycle {
  readonly event: 'started' | 'policies-changed' | 'stopped'
  readonly 'policy.version': string
  /** Of a change: the names of the files, and the exchanges that wrote them, or `files`. */
  readonly object?: string
  readonly 'changed-by'?: string
}

export async function recordLifecycle(
  { clock, random }: Environment,
  feed: Pick<EntryFeed, 'append'>,
  what: Lifecycle,
): Promise<void> {
  const at = clock.now()
  const facts = { ...what, version: fabricVersion }
  const exchange = createId('dec', at, random(10))
  // A fabric starts only with room to work in. The events of a running one are recorded in any
  // case.
  const purpose = what.event === 'started' ? {} : ({ purpose: 'lifecycle' } as const)
  await feed.append({ kind: 'lifecycle', exchange, at, facts, ...purpose })
}
