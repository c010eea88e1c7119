import { certifiedKeyId, createExchangeId } from '@countersign/protocol'
import type { RecordedDecision } from '../approvals/approvals.ts'
import type { CertificateFacts, FindNoRoom, RecordCertificate } from '../identity/enrollment.ts'
import type { VerifiedToken } from '../identity/token-server.ts'
import type { Certification } from '../keys/certified-key.ts'
import type { EntryFeed } from '../ledger/entry-feed.ts'
import type { EntryDraft, EntryPurpose } from '../ledger/ledger.ts'
import type { Rebuilt } from '../ledger/log-consumer.ts'
import { refusalOfFailure } from '../ledger/refusals.ts'
import type { Refusal } from '../lib/refusal.ts'
import { writable } from '../pipeline/ending.ts'
import { formatProblem } from '../policy/compile-policies.ts'
import type { PolicySet } from '../policy/policy.ts'
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

/** The events of the policies, in the ledger and in the log. */
export function policyEvents(environment: Environment, feed: EntryFeed) {
  const { log } = environment
  return {
    record: recordPolicies(environment, feed, 'policies-changed'),
    recordKept: recordPolicies(environment, feed, 'policies-kept'),
    onRejected: (error: unknown) => log('policies not taken', { error: String(error) }),
    onRepaired: ({ version }: PolicySet) => log('policies taken', { version }),
    onUnmirrored: (error: unknown) => log('policy folder not written', { error: String(error) }),
    onConflict: (file: string, keptAs: string | null) =>
      log('policy edit superseded', { file, kept: keptAs ?? 'the file was removed by hand' }),
  }
}

/**
 * Puts the policies that decide on record, like their decisions: files change without a request to
 * the fabric.
 */
function recordPolicies(
  environment: Environment,
  feed: EntryFeed,
  event: 'policies-changed' | 'policies-kept',
): RecordPolicyChange {
  return ({ version, files, changedBy }) => {
    const change = { object: writable(files.join(' ')), 'changed-by': changedBy.join(' ') }
    const what = { event, ...change, 'policy.version': version }
    return recordLifecycle(environment, feed, what).then(() => null, refusalOfFailure)
  }
}

/**
 * Puts a certificate on record before its agent has it. While the disk fills up, certificates are
 * renewed for longer than agents are enrolled: one that has ended needs another join string.
 */
export function recordCertificates(
  environment: Environment,
  { feed, ledger }: Pick<Stores, 'feed' | 'ledger'>,
): RecordCertificate {
  const record = async (facts: CertificateFacts): Promise<null> => {
    await ledger.assertSpace(facts.event === 'enrolled' ? null : 'oversight')
    await appendLifecycle(environment, feed, { facts: { ...facts }, purpose: 'lifecycle' })
    return null
  }
  return (facts) => record(facts).catch(refusalOfFailure)
}

/** Nothing is written; the answer may be outdated by the time of the entry, which asks again. */
export function findNoRoomForEnrolment({ ledger }: Pick<Stores, 'ledger'>): FindNoRoom {
  return () => ledger.assertSpace(null).then(() => null, refusalOfFailure)
}

/** Records a token before its agent has it; rejects when it is not on record. */
export function recordToken(
  environment: Environment,
  { feed }: Pick<Stores, 'feed'>,
  { subject, tokenId, scopes, expiresAt }: VerifiedToken,
): Promise<void> {
  const facts = {
    ...{ event: 'token-issued', agent: subject, 'expires-at': expiresAt, 'token.id': tokenId },
    'token.scopes': scopes?.join(' ') ?? '',
  }
  return appendLifecycle(environment, feed, { facts, purpose: null })
}

/** Puts an approver's decision on record, with the digest of the action that it is about. */
export function recordApproval(
  environment: Environment,
  feed: EntryFeed,
): (decision: RecordedDecision) => Promise<Refusal | null> {
  return ({ id, digest, verdict, approver, note, exchange }) => {
    const facts = {
      ...{ event: `approval-${verdict}`, object: id, 'changed-by': exchange },
      ...{
        'approval.id': id,
        'approval.approver': approver,
        'approval.digest': Buffer.from(digest, 'hex'),
      },
      reason: writable(note),
    }
    const recording = appendLifecycle(environment, feed, { facts, purpose: 'administration' })
    return recording.then(() => null, refusalOfFailure)
  }
}

/** Puts the certificate of a short-lived key on record, before the key signs anything. */
export function recordCertification(
  environment: Environment,
  feed: EntryFeed,
): (certification: Certification) => Promise<void> {
  return ({ certificate, text }) => {
    const facts = {
      ...{ event: 'key-certified', object: certifiedKeyId(certificate) },
      ...{ 'expires-at': certificate.notAfter, 'key.certificate': text },
    }
    return appendLifecycle(environment, feed, { facts, purpose: 'lifecycle' })
  }
}

/**
 * Puts it on record that a consumer of the log lost the entries before `from`: a holder of the disk
 * does not remove them unnoticed.
 */
export function recordRebuilt(
  environment: Environment,
  feed: EntryFeed,
  { name, reason, from }: Rebuilt,
): Promise<void> {
  const facts = { event: 'state-rebuilt', object: name, reason, from }
  return appendLifecycle(environment, feed, { facts, purpose: 'lifecycle' })
}

export interface Lifecycle {
  readonly event: 'started' | 'policies-changed' | 'policies-kept' | 'stopped'
  readonly 'policy.version': string
  /** Of a change: the names of the files, and the exchanges that wrote them, or `files`. */
  readonly object?: string
  readonly 'changed-by'?: string
}

export function recordLifecycle(
  environment: Environment,
  feed: EntryFeed,
  what: Lifecycle,
): Promise<void> {
  const facts = { ...what, version: fabricVersion }
  // A fabric starts only with room to work in. The events of a running one are recorded in any
  // case.
  const purpose = what.event === 'started' ? null : 'lifecycle'
  return appendLifecycle(environment, feed, { facts, purpose })
}

export async function appendLifecycle(
  { clock, random }: Pick<Environment, 'clock' | 'random'>,
  feed: Pick<EntryFeed, 'append' | 'slot'>,
  { facts, purpose }: Pick<EntryDraft, 'facts'> & { readonly purpose: EntryPurpose | null },
): Promise<void> {
  const at = clock.now()
  const exchange = createExchangeId(feed.slot, at, random(10))
  const draft = { kind: 'lifecycle', exchange, at, facts } as const
  await feed.append(purpose === null ? draft : { ...draft, purpose })
}
