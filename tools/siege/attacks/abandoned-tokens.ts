import { type Attack, dial, expectStatus, post } from '../attack.ts'

const type = 'Content-Type: application/x-www-form-urlencoded'

/**
 * Requests for a token that are left in the middle; the first one is whole, and shows that they are
 * received.
 */
export const attack: Attack = {
  name: 'abandoned token requests',
  async round(target) {
    for (let at = 0; at < 20; at++) {
      const socket = await dial(target)
      const isWhole = at === 0
      expectStatus(target, socket, 400, 401, 429)
      const length = isWhole ? 11 : 100
      socket.write(
        `${post(target, '/oauth/token', [type, `Content-Length: ${length}`])}grant_type=`,
      )
      await target.pause(isWhole ? 3_000 : 20)
      socket.destroy()
    }
  },
}
