import type { AgentRecord } from '../identity/directory.ts'
import { findAgent, findPrincipal } from '../identity/principals.ts'
import type { ApprovalGate } from '../pipeline/approve.ts'
import type { AuthorizeDeps, Receiver } from '../pipeline/authorize.ts'
import type { PipelineDeps } from '../pipeline/enforce.ts'
import type { LargeBodies } from '../pipeline/large-bodies.ts'
import type { RateLimits } from '../pipeline/quota.ts'
import type { StatusChanges } from '../pipeline/status.ts'
import type { Redactor } from '../redaction/redactor.ts'
import type { Routes } from '../routes/routes.ts'
import { StaleAuthority } from '../state/authority.ts'
import type { Counters } from './counters.ts'
import type { WatchedDetection } from './detection.ts'
import type { Environment, Stores } from './stores.ts'

export interface PipelineOptions {
  readonly stores: Stores
  readonly environment: Environment
  readonly redactor: Redactor
  readonly largeBodies: LargeBodies
  readonly detection: WatchedDetection
  /** Throws where the risk of a caller is not known well enough to decide by it. */
  assertRiskKnown(): void
  readonly routes: Routes
  readonly approvals: ApprovalGate
  /** Reports whether a channel of that name exists. */
  hasChannel(name: string): boolean
}

/** Gathers what the pipeline's stages ask for. */
export function composePipeline(options: PipelineOptions): PipelineDeps {
  const { stores, environment, redactor, largeBodies, detection } = options
  const { identity, policy, ledger, state, slot } = stores
  const { trustDomain } = identity
  const standing = statusChanges(stores, detection)
  let isExhausted = false
  // Registered before the streams' listeners, which ask again.
  ledger.onSpace(({ state }) => {
    isExhausted = state === 'exhausted'
  })
  const authorization: AuthorizeDeps = {
    policy() {
      // Also where a read cannot be awaited: for the next event of a stream.
      if (!state.isFresh()) throw new StaleAuthority()
      return policy.decisive()
    },
    authority: state,
    riskOf(principal, now) {
      options.assertRiskKnown()
      return detection.scoreOf(principal, now)
    },
    findReceiver: (kind, name) => findReceiver(options, kind, name),
    isDismissed: (kind, name) =>
      kind === 'agent' && isDismissed(findAgent(identity.directory, name)),
    findPrincipal: (principal) => findPrincipal(identity.directory, principal, trustDomain),
    findMember: (name) => identity.directory.find(name),
    trustDomain,
    credentialStands: ({ method, credentialId }) =>
      method !== 'api-key' || identity.apiKeys.stands(credentialId),
    continuesUntil: ({ method, principal, credentialId }) =>
      method === 'certificate' ? identity.renewals.untilOf(principal, credentialId) : 0,
    // A process that was paused beyond its lease could record nothing of what it lets pass.
    canRecord: () => !isExhausted && slot.lease.holds(),
    limits: rateLimits(stores.counters, environment.config.limits.requestsPerMinute),
    now: () => environment.clock.now(),
  }
  return {
    authenticators: identity.authenticators,
    signatures: identity.signatures,
    trustDomain,
    authorization,
    redactor,
    largeBodies,
    standing,
    approvals: options.approvals,
    now: () => environment.clock.now(),
    append: (draft) => stores.feed.append(draft),
  }
}

/** The same listener for whatever can take away the right to go on. */
function statusChanges(
  { identity, policy, ledger, state, slot }: Stores,
  detection: WatchedDetection,
): StatusChanges {
  return {
    onChange(listener) {
      const stops = [
        identity.directory.onChange(() => listener()),
        policy.onChange(() => listener()),
        policy.onUndecided(listener),
        detection.onSignal(listener),
        identity.apiKeys.onRemove(() => listener()),
        ledger.onSpace(() => listener()),
        state.onStale(listener),
        slot.lease.onLost(() => listener()),
      ]
      return () => {
        for (const stop of stops) stop()
      }
    },
  }
}

/**
 * One connector records for all of its agent's callers, in batches, and they are limited
 * themselves.
 */
const recordsPerRequest = 100

function rateLimits(counters: Counters, requestsPerMinute: number): RateLimits {
  const requests = counters.rateLimits(requestsPerMinute)
  const records = counters.rateLimits(requestsPerMinute * recordsPerRequest)
  return {
    spend: (caller, what) => (what === 'fabric record' ? records : requests).spend(caller, what),
  }
}

const fabric: Receiver = { kind: 'fabric', name: 'fabric', roles: [], segment: '', attributes: {} }

/** Known, and cut off from others. */
export function isDismissed(record: AgentRecord | null): boolean {
  return record !== null && record.status !== 'active'
}

function findReceiver(
  options: PipelineOptions,
  kind: Receiver['kind'],
  name: string,
): Receiver | null {
  if (kind === 'fabric') return fabric
  if (kind === 'channel') {
    if (!options.hasChannel(name)) return null
    return { kind, name, roles: [], segment: '', attributes: {} }
  }
  // A user of that name does not receive.
  const record = findAgent(options.stores.identity.directory, name)
  const { agents } = options.environment.config
  // An agent may be named like a member that every object has.
  const configured = Object.hasOwn(agents, name) ? agents[name] : undefined
  // A record of a caller by key does not describe it as a receiver, if the configuration does.
  const isConfigured = configured !== undefined && (record === null || record.keys === null)
  const described = isConfigured ? configured : record
  if (described === null && options.routes.find(name) === null) return null
  // A receiver that misbehaves is cut off as well: no agent can call a quarantined one.
  if (isDismissed(record)) return null
  const { roles, segment, attributes } = described ?? fabric
  return { kind, name, roles, segment, attributes }
}
