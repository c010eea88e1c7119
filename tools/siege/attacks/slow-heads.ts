import { type Attack, dial, expectEnd, expectStatus, hold } from '../attack.ts'

/** Heads that arrive byte by byte, for longer than a head may take. */
export const attack: Attack = {
  name: 'slow heads',
  async round(target) {
    await hold(target, 30, async () => {
      const socket = await dial(target)
      expectStatus(target, socket, 408, 429)
      expectEnd(target, socket)
      socket.write('GET /verify HTTP/1.1\r\nX-A: ')
      const timer = setInterval(() => socket.write('a'), 500)
      socket.once('close', () => clearInterval(timer))
      await target.pause(100)
      return socket
    })
  },
}
