import { type MeshAgent, type MeshState, meshEntriesFormat, toBase64 } from '@countersign/protocol'
import type { AgentRecord } from '../identity/directory.ts'
import { isForeignName, principalOfRecord } from '../identity/principals.ts'
import type { Clock } from '../lib/clock.ts'
import type { EndpointRegistry } from '../routes/endpoint-registry.ts'
import {
  createMeshStateFeed,
  type MeshStateFeed,
  type Urgency,
} from '../transports/mesh/mesh-state.ts'
import type { WatchedDetection } from './detection.ts'
import type { Environment, Stores } from './stores.ts'

/** The sources, other than the stores, by which connectors decide. */
interface MeshSources {
  readonly endpoints: EndpointRegistry
  readonly detection: WatchedDetection
}

/**
 * Risk decays by itself, without an event; while there is any, connectors receive it this often.
 */
const riskEveryMs = 15_000
/**
 * Certificates are renewed half an hour before their end, so connectors receive the renewal in
 * time.
 */
const renewalsEveryMs = 5 * 60_000

/** The state by which connectors decide, gathered from the modules that know it. */
export function composeMeshState(
  { clock, config }: Environment,
  stores: Stores,
  sources: MeshSources,
): MeshStateFeed {
  return createMeshStateFeed(
    {
      read: () => ({
        entriesFormat: meshEntriesFormat,
        requestsPerMinute: config.limits.requestsPerMinute,
        slot: stores.ledger.slot,
        ...readMeshState(stores, sources, clock.now()),
      }),
      onChange: (listener) => onMeshChange(stores, sources, { clock, listener }),
    },
    clock,
  )
}

function readMeshState(
  stores: Stores,
  { endpoints, detection }: MeshSources,
  now: number,
): Omit<MeshState, 'sequence' | 'entriesFormat' | 'requestsPerMinute' | 'slot'> {
  const { identity, policy } = stores
  const bundle = identity.bundles.find(identity.trustDomain)
  return {
    policies: policy.policySources(),
    agents: identity.directory
      .list()
      // Connectors know callers by certificate, which principals of other issuers do not have.
      .filter(({ name }) => !isForeignName(name))
      .map((record) =>
        toMeshAgent(
          record,
          detection.scoreOf(principalOfRecord(record, identity.trustDomain), now),
        ),
      ),
    endpoints: endpoints.list().map(({ expiresAt: _, ...endpoint }) => endpoint),
    routes: endpoints.settings(),
    bundles: {
      [identity.trustDomain]: {
        sequence: bundle?.sequence ?? 0,
        roots: (bundle?.roots ?? []).map((root) => toBase64(root)),
      },
    },
    renewals: identity.renewals.announced(now),
  }
}

function toMeshAgent({ keys, ...record }: AgentRecord, risk: number): MeshAgent {
  const key = (of: { keyId: string; publicKey: Uint8Array } | undefined) =>
    of === undefined ? null : { keyId: of.keyId, publicKey: toBase64(of.publicKey) }
  return { ...record, risk, signing: key(keys?.signing), sealing: key(keys?.sealing) }
}

function onMeshChange(
  { identity, policy }: Stores,
  { endpoints, detection }: MeshSources,
  { clock, listener }: { readonly clock: Clock; readonly listener: (urgency: Urgency) => void },
): () => void {
  const isAnyoneRisky = () =>
    identity.directory
      .list()
      .map((record) => principalOfRecord(record, identity.trustDomain))
      .some((principal) => detection.scoreOf(principal, clock.now()) > 0)
  const timer = setInterval(() => {
    if (isAnyoneRisky()) listener('soon')
  }, riskEveryMs)
  timer.unref()
  let passedOn = identity.renewals.changes
  // Together, not one by one: each agent renews twice an hour, and every connector gets all of it.
  const renewalTimer = setInterval(() => {
    if (identity.renewals.changes === passedOn) return
    passedOn = identity.renewals.changes
    listener('soon')
  }, renewalsEveryMs)
  renewalTimer.unref()
  const stops = [
    () => clearInterval(timer),
    () => clearInterval(renewalTimer),
    identity.directory.onChange(() => listener('now')),
    policy.onChange(() => listener('now')),
    endpoints.onChange(() => listener('soon')),
    detection.onSignal(() => listener('soon')),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}
