import { type Attack, dial, expectStatus, get } from '../attack.ts'

const paths = [
  '/agents/echo/',
  '/v1/admin',
  '/nowhere',
  '//',
  '/v1/receipts/exc_x',
  '/v1/mesh/state',
]

/** Requests without a credential, one after the other. */
export const attack: Attack = {
  name: 'refused requests',
  async round(target) {
    const socket = await dial(target)
    expectStatus(target, socket, 401, 429)
    for (let at = 0; at < 60 && !socket.destroyed; at++) {
      socket.write(get(target, paths[at % paths.length] ?? ''))
      await target.pause(20)
    }
    socket.destroy()
  },
}
