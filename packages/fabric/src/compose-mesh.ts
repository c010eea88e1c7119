import { type MeshAgent, type MeshState, toBase64 } from '@countersign/protocol'
import type { Stores, Surroundings } from './compose-stores.ts'
import type { AgentRecord } from './identity/directory.ts'
import type { EndpointRegistry } from './transports/http/endpoint-registry.ts'
import { createMeshStateFeed, type MeshStateFeed } from './transports/mesh/mesh-state.ts'

/** What connectors decide by, gathered from the rooms that know it. */
export function composeMeshState(
  { clock }: Surroundings,
  stores: Stores,
  endpoints: EndpointRegistry,
): MeshStateFeed {
  return createMeshStateFeed(
    {
      read: () => readMeshState(stores, endpoints),
      onChange: (listener) => onMeshChange(stores, endpoints, listener),
    },
    clock.now(),
  )
}

function readMeshState(stores: Stores, endpoints: EndpointRegistry): Omit<MeshState, 'sequence'> {
  const { identity, policy } = stores
  const bundle = identity.bundles.find(identity.trustDomain)
  return {
    policies: policy.policySources(),
    agents: identity.directory.list().map(toMeshAgent),
    endpoints: endpoints.list().map(({ expiresAt: _, ...endpoint }) => endpoint),
    bundles: {
      [identity.trustDomain]: {
        sequence: bundle?.sequence ?? 0,
        roots: (bundle?.roots ?? []).map((root) => toBase64(root)),
      },
    },
  }
}

function toMeshAgent({ keys, ...record }: AgentRecord): MeshAgent {
  const key = (of: { keyId: string; publicKey: Uint8Array } | undefined) =>
    of === undefined ? null : { keyId: of.keyId, publicKey: toBase64(of.publicKey) }
  return { ...record, signing: key(keys?.signing), sealing: key(keys?.sealing) }
}

function onMeshChange(
  { identity, policy }: Stores,
  endpoints: EndpointRegistry,
  listener: () => void,
): () => void {
  const stops = [
    identity.directory.onChange(() => listener()),
    policy.onChange(() => listener()),
    endpoints.onChange(listener),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}
