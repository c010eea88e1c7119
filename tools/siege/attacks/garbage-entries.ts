import { type Attack, dial, expectStatus, postJson } from '../attack.ts'

const entry = { v: 1, kind: 'intent', exchange: 'exc_0', at: 0, facts: { caller: 'user/operator' } }
const body = JSON.stringify({ entries: Array.from({ length: 256 }, () => entry) })

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
