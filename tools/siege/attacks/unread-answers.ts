import { type Attack, dial, hold, post } from '../attack.ts'

const body = JSON.stringify('x'.repeat(60_000))

/** Calls of an agent whose answers are not read. */
export const attack: Attack = {
  name: 'unread answers',
  round: (target) =>
    hold(target, 4, async () => {
      const socket = await dial(target, true)
      socket.pause()
      const fields = ['Content-Type: application/json', `Content-Length: ${body.length}`]
      socket.write(`${post(target, '/agents/echo/', fields)}${body}`.repeat(3))
      return socket
    }),
}
