import { type Attack, dial, expectStatus, post } from '../attack.ts'

const type = 'Content-Type: application/x-www-form-urlencoded'

/** Requests for a token that are left in the middle; the last one is whole, and says what it should. */
export const attack: Attack = {
  name: 'abandoned token requests',
  async round(target) {
    for (let at = 0; at < 20; at++) {
      const socket = await dial(target)
      const isLast = at === 19
      expectStatus(target, socket, 400, 401, 429)
      const length = isLast ? 11 : 100
      socket.write(
        `${post(target, '/oauth/token', [type, `Content-Length: ${length}`])}grant_type=`,
      )
      await target.pause(isLast ? 500 : 20)
      socket.destroy()
    }
  },
}
