import { type Attack, dial, hold, post } from '../attack.ts'

/** Three megabytes of each of many bodies that are never finished, by an enrolled agent. */
export const attack: Attack = {
  name: 'half-sent bodies of an agent',
  round: (target) =>
    hold(target, 30, async () => {
      const socket = await dial(target, true)
      const fields = ['Content-Type: application/json', 'Content-Length: 4000000']
      socket.write(post(target, '/agents/echo/', fields))
      socket.write(Buffer.alloc(3_000_000, 0x20))
      return socket
    }),
}
