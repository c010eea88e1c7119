import { parseSpiffeId } from '@countersign/protocol'
import { createDetection, type RestorableDetection } from './detection/create-detection.ts'
import type { EntryDraft } from './ledger/ledger.ts'
import type { Clock } from './lib/clock.ts'

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

/**
 * What connectors record is seen as well: an agent that misbehaves over the mesh is no less risky. Only
 * what its own connector says or what it signed counts, which was proven before it was recorded:
 * otherwise any agent with a certificate could have policy shut out any other.
 */
export function observeEntry(detection: WatchedDetection, { kind, at, facts }: EntryDraft): void {
  if (kind !== 'intent' && kind !== 'refusal') return
  const { caller, receiver, operation, masked } = facts
  if (caller !== facts['producer'] && facts['attested.request'] !== 'caller') return
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
