import { type Attack, dial, expectEnd, expectStatus, postJson } from '../attack.ts'

const names = Array.from({ length: 150_000 }, (_, at) => `"name${at}":0`)
const body = `{${names.join(',')}}`

/** Three megabytes of names, by an agent and by a client without a credential. */
export const attack: Attack = {
  name: 'large JSON',
  async round(target) {
    for (const isAgent of [true, false]) {
      const socket = await dial(target, isAgent)
      // The receiver hangs up on a body of this size once it has passed.
      if (isAgent) {
        expectStatus(target, socket, 200, 413, 429, 502, 503, 504)
        expectEnd(target, socket)
      } else socket.resume()
      socket.write(postJson(target, '/agents/echo/', body))
      await target.pause(isAgent ? 8_000 : 1_500)
      socket.destroy()
    }
  },
}
