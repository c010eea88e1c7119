import { randomBytes } from 'node:crypto'
import { createId, formatMeshEntries } from '../../../packages/protocol/src/index.ts'
import { type Attack, dial, expectStatus, postJson } from '../attack.ts'

const id = 'spiffe://countersign.local/agent/mallory'

/** Intents of its own that a connector records and never closes. */
export const attack: Attack = {
  name: 'intents left open',
  async round(target) {
    const socket = await dial(target, true)
    // Recorded, or refused for the many that are open.
    expectStatus(target, socket, 200, 429, 503)
    for (let at = 0; at < 5; at++) {
      const entries = Array.from({ length: 64 }, () => ({
        kind: 'intent' as const,
        exchange: createId('dec', Date.now(), new Uint8Array(randomBytes(10))),
        facts: {
          ...{ receiver: 'mallory', caller: id, transport: 'mesh', protocol: 'http' },
          ...{ operation: 'POST', 'attested.request': 'connector' },
        },
      }))
      socket.write(postJson(target, '/v1/mesh/entries', formatMeshEntries(entries)))
      await target.pause(500)
    }
    socket.destroy()
  },
}
