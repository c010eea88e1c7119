import { type Attack, dial, expectEnd, expectStatus, postJson } from '../attack.ts'

const names = Array.from({ length: 150_000 }, (_, at) => `"name${at}":0`)
const body = `{${names.join(',')}}`

/** Three megabytes of names, by an agent and by a client without a credential. */
export const attack: Attack = {
  name: 'large JSON',
  async round(target) {
    for (const isAgent of [true, false]) {
      const socket = await dial(target, isAgent)
      let isAnswered = false
      const confirm = (): void => {
        isAnswered = true
        target.confirm()
      }
      // The receiver hangs up on a body of this size, once it has passed.
      expectStatus({ ...target, confirm }, socket, 200, 401, 413, 429, 502, 503, 504)
      expectEnd({ ...target, confirm }, socket)
      socket.write(postJson(target, '/agents/echo/', body))
      for (let at = 0; at < 40 && !isAnswered; at++) await target.pause(500)
      socket.destroy()
    }
  },
}
