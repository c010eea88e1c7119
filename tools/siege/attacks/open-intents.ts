import { formatMeshEntries, type MeshFact } from '../../../packages/protocol/src/index.ts'
import { meshEntry } from '../../../test/harness/entries.ts'
import { type Attack, dial, expectStatus, postJson } from '../attack.ts'

/** A call of mallory to itself, which policy permits. */
export function ownIntent(facts: Readonly<Record<string, MeshFact | null>> = {}) {
  const own = { receiver: 'mallory', caller: 'spiffe://countersign.local/agent/mallory' }
  return meshEntry({ facts: { ...own, ...facts } })
}

/** Intents of its own that a connector records and never closes. */
export const attack: Attack = {
  name: 'intents left open',
  async round(target) {
    const socket = await dial(target, true)
    // Recorded, or refused for the many that are open.
    expectStatus(target, socket, 200, 429, 503)
    for (let at = 0; at < 5; at++) {
      const entries = Array.from({ length: 64 }, () => ownIntent(target.decision))
      socket.write(postJson(target, '/v1/mesh/entries', formatMeshEntries(entries)))
      await target.pause(500)
    }
    socket.destroy()
  },
}
