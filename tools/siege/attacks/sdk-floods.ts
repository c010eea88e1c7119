import { type Attack, at, dial, expectStatus, get, hold, post } from '../attack.ts'

/**
 * Unsigned requests, unauthenticated clients and half bodies at an agent that serves by the SDK.
 */
export const attack: Attack = {
  name: 'listener of the SDK',
  async round(target) {
    const sdk = at(target, target.doors.sdk)
    let count = 0
    await hold(target, 12, async () => {
      const socket = await dial(sdk, count++ % 2 === 0)
      expectStatus(target, socket, 400, 401, 403, 404, 408, 413, 503)
      socket.write(get(sdk, '/'))
      await target.pause(50)
      socket.write(post(sdk, '/', ['Content-Length: 4000000']))
      socket.write(Buffer.alloc(64 * 1024, 0x20))
      return socket
    })
  },
}
