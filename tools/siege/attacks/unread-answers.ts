import type { Socket } from 'node:net'
import { type Attack, dial, expectUnparsed, hold, postJson } from '../attack.ts'

const body = JSON.stringify('x'.repeat(60_000))

/** Calls of an agent whose answers are not read. */
export const attack: Attack = {
  name: 'unread answers',
  async round(target) {
    const sockets: Socket[] = []
    const held = hold(target, 4, async () => {
      const socket = await dial(target, true)
      socket.pause()
      const call = postJson(target, '/agents/echo/', body)
      socket.write(Buffer.concat([call, call, call]))
      sockets.push(socket)
      return socket
    })
    await target.pause(4_000)
    const [first] = sockets
    if (first !== undefined) await expectUnparsed(target, first)
    await held
  },
}
