import { type Attack, dial, expectStatus, hold, post } from '../attack.ts'

const paths = ['/v1/enroll', '/oauth/token', '/agents/echo/', '/v1/admin']

/** Bodies that are begun and never finished, without a credential. */
export const attack: Attack = {
  name: 'half-sent bodies',
  async round(target) {
    let count = 0
    await hold(target, 40, async () => {
      const socket = await dial(target)
      expectStatus(target, socket, 401, 413, 429)
      const path = paths[count++ % paths.length] ?? ''
      socket.write(post(target, path, ['Content-Length: 4000000', 'X-Api-Key: csk_guess']))
      socket.write(Buffer.alloc(64 * 1024, 0x20))
      return socket
    })
  },
}
