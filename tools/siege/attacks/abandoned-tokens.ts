import { type Attack, dial, post } from '../attack.ts'

/** Requests for a token that are left in the middle. */
export const attack: Attack = {
  name: 'abandoned token requests',
  async round(target) {
    for (let at = 0; at < 20; at++) {
      const socket = await dial(target)
      const type = 'Content-Type: application/x-www-form-urlencoded'
      socket.write(`${post(target, '/oauth/token', [type, 'Content-Length: 100'])}grant_type=`)
      await target.pause(20)
      socket.destroy()
    }
  },
}
