import { type Attack, dial, get, hold } from '../attack.ts'

/** An agent that waits for the state of the mesh on many connections. */
export const attack: Attack = {
  name: 'long polls',
  round: (target) =>
    hold(target, 60, async () => {
      const socket = await dial(target, true)
      socket.resume()
      socket.write(get(target, `/v1/mesh/state?after=${Number.MAX_SAFE_INTEGER}`))
      return socket
    }),
}
