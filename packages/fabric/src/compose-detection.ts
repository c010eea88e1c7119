import { parseSignatureBase, parseSpiffeId, requestSignatureTag } from '@countersign/protocol'
import { createDetection, type RestorableDetection } from './detection/create-detection.ts'
import type { AgentRecord } from './identity/directory.ts'
import type { MessageSignatures } from './identity/message-signatures.ts'
import { callerOf } from './identity/standing.ts'
import type { EntryDraft } from './ledger/ledger.ts'
import type { Clock } from './lib/clock.ts'
import { Refusal } from './lib/refusal.ts'

/** Detection that tells whoever acts on risk that somebody's has just risen. */
export interface WatchedDetection extends RestorableDetection {
  onSignal(listener: () => void): () => void
}

export function composeDetection(clock: Clock): WatchedDetection {
  const detection = createDetection({ clock })
  const listeners = new Set<() => void>()
  const tell = (): void => {
    for (const listener of listeners) listener()
  }
  return {
    ...detection,
    observe(observation) {
      const signals = detection.observe(observation)
      if (signals.length > 0) tell()
      return signals
    },
    raise(signal) {
      detection.raise(signal)
      tell()
    },
    onSignal(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** What tells a caller's doing from a connector's word for it. */
export interface CallerProofs {
  readonly signatures: Pick<MessageSignatures, 'checkRequest'>
  findAgent(name: string): AgentRecord | null
}

/**
 * Whether the caller that an entry names did this: it recorded it itself, or signed the request, for
 * this connector, just now and for the first time. Without it any agent with a certificate could
 * make any other look as risky as it likes, and have policy shut that one out.
 */
export async function isDoingOfCaller(
  { facts }: EntryDraft,
  producer: string,
  { signatures, findAgent }: CallerProofs,
): Promise<boolean> {
  const { caller } = facts
  if (caller === producer) return true
  const signature = facts['request.signature']
  const base = facts['request.signature-base']
  const id = typeof caller === 'string' ? parseSpiffeId(caller) : null
  if (id === null || typeof base !== 'string' || !(signature instanceof Uint8Array)) return false
  try {
    const { values, params } = parseSignatureBase(base)
    if (params.tag !== requestSignatureTag) return false
    if (values.get('"countersign-to"') !== producer) return false
    const proof = { method: 'certificate', credentialId: '', scopes: null, expiresAt: 0 } as const
    const signer = callerOf(findAgent(id.name), { ...proof, spiffeId: String(caller) })
    if (signer instanceof Refusal || signer.kind !== id.kind) return false
    const components = [...values.keys()]
    const signed = { ...params, label: 'caller', components, signature, base }
    return (await signatures.checkRequest(signed, signer)) === null
  } catch {
    // Not to be read, or the replay guard is full: nothing is held against anybody.
    return false
  }
}

/** What connectors record is seen as well: an agent that misbehaves over the mesh is no less risky. */
export function observeEntry(detection: WatchedDetection, { kind, at, facts }: EntryDraft): void {
  if (kind !== 'intent' && kind !== 'refusal') return
  const { caller, receiver, operation, masked } = facts
  const id = typeof caller === 'string' ? parseSpiffeId(caller) : null
  if (id === null) return
  const counts = typeof masked === 'string' ? [...masked.matchAll(/(\w+):(\d+)/g)] : []
  const count = (only: string | null) =>
    counts
      .filter(([, dataClass]) => only === null || dataClass === only)
      .reduce((sum, [, , found]) => sum + Number(found), 0)
  detection.observe({
    at,
    caller: id.name,
    receiver: String(receiver),
    action: `call:${String(operation)}`,
    outcome: kind === 'refusal' ? 'refused' : 'permitted',
    bytes: 0,
    findings: count(null),
    credentials: count('credential'),
  })
}
