import { encodePackedBatch } from '../../../packages/protocol/src/index.ts'
import { packedEntry } from '../../../test/harness/stated-batches.ts'
import { type Attack, dial, expectStatus, postJson } from '../attack.ts'

const forged = { kind: 'intent', exchange: 'exc_0', facts: { caller: 'user/operator' } }
const entries = Array.from({ length: 256 }, () => packedEntry(forged, 0))
const body = encodePackedBatch({ statement: new Uint8Array(300), entries })

/** Batches of entries that name foreign callers. */
export const attack: Attack = {
  name: 'forged mesh entries',
  async round(target) {
    const socket = await dial(target, true)
    expectStatus(target, socket, 400, 403, 429)
    for (let at = 0; at < 5; at++) {
      socket.write(postJson(target, '/v1/mesh/entries', body))
      await target.pause(200)
    }
    socket.destroy()
  },
}
