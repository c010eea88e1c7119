import { type Attack, dial, expectStatus, hold, post } from '../attack.ts'

/** Bodies of megabytes that are begun and never finished, by an enrolled agent. */
export const attack: Attack = {
  name: 'half-sent bodies of an agent',
  round: (target) =>
    hold(target, 30, async () => {
      const socket = await dial(target, true)
      // Its share of memory is used up by a few of them.
      expectStatus(target, socket, 408, 503)
      const fields = ['Content-Type: application/json', 'Content-Length: 4000000']
      socket.write(post(target, '/agents/echo/', fields))
      socket.write(Buffer.alloc(3_000_000, 0x20))
      return socket
    }),
}
