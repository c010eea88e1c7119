import { type Attack, dial, post } from '../attack.ts'

const names = Array.from({ length: 150_000 }, (_, at) => `"name${at}":0`)
const body = `{${names.join(',')}}`

/** Three megabytes of names, by an agent and by a client without a credential. */
export const attack: Attack = {
  name: 'large JSON',
  async round(target) {
    for (const isAgent of [true, false]) {
      const socket = await dial(target, isAgent)
      socket.resume()
      const fields = ['Content-Type: application/json', `Content-Length: ${body.length}`]
      socket.write(post(target, '/agents/echo/', fields))
      socket.write(body)
      await target.pause(1_500)
      socket.destroy()
    }
  },
}
