import type { Socket } from 'node:net'
import { type Attack, dial, expectUnparsed, get, hold } from '../attack.ts'

/** 43 kB of pipelined requests for a page, of which nothing is read. */
export const attack: Attack = {
  name: 'pipelined pages',
  async round(target) {
    const sockets: Socket[] = []
    const held = hold(target, 8, async () => {
      const socket = await dial(target)
      socket.pause()
      socket.write(get(target, '/verify').repeat(1_000))
      sockets.push(socket)
      return socket
    })
    await target.pause(4_000)
    const [first] = sockets
    if (first !== undefined) await expectUnparsed(target, first)
    await held
  },
}
