import { createPrivateKey } from 'node:crypto'
import type { MeshFact } from '../../../packages/protocol/src/index.ts'
import { meshEntry } from '../../../test/harness/entries.ts'
import { batchBody } from '../../../test/harness/stated-batches.ts'
import { type Attack, dial, expectStatus, postJson } from '../attack.ts'

const mallory = 'spiffe://countersign.local/agent/mallory'

/** A call of mallory to itself, which policy permits. */
export function ownIntent(facts: Readonly<Record<string, MeshFact | null>> = {}) {
  const own = { receiver: 'mallory', caller: mallory }
  return meshEntry({ facts: { ...own, ...facts } })
}

/** Intents of its own that a connector records and never closes. */
export const attack: Attack = {
  name: 'intents left open',
  async round(target) {
    const socket = await dial(target, true)
    const { keyId, key } = target.signing
    const signing = { keyId, privateKey: createPrivateKey(key) }
    const stater = { spiffeId: mallory, signing }
    // Recorded, or refused for the many that are open.
    expectStatus(target, socket, 200, 429, 503)
    for (let at = 0; at < 5; at++) {
      const entries = Array.from({ length: 64 }, () => ownIntent(target.decision))
      socket.write(postJson(target, '/v1/mesh/entries', batchBody(stater, entries)))
      await target.pause(500)
    }
    socket.destroy()
  },
}
