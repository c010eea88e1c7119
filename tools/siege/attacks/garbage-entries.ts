import { type Attack, dial, post } from '../attack.ts'

const entry = { v: 1, kind: 'intent', exchange: 'dec_0', at: 0, facts: { caller: 'user/operator' } }
const body = JSON.stringify({ entries: Array.from({ length: 256 }, () => entry) })

/** Batches of entries that name foreign callers. */
export const attack: Attack = {
  name: 'forged mesh entries',
  async round(target) {
    const socket = await dial(target, true)
    socket.resume()
    for (let at = 0; at < 5; at++) {
      const fields = ['Content-Type: application/json', `Content-Length: ${body.length}`]
      socket.write(post(target, '/v1/mesh/entries', fields) + body)
      await target.pause(200)
    }
    socket.destroy()
  },
}
