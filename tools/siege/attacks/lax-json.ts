import { type Attack, dial, expectStatus, postJson } from '../attack.ts'

const bodies = [
  '{"a":1,}',
  '{"a":NaN}',
  '{"a":1}{"b":2}',
  ')]}\'\n{"method":"tools/call"}',
  '[1,2',
  `${'['.repeat(5_000)}${']'.repeat(5_000)}`,
  `{"a":${'9'.repeat(10_000)}}`,
  '{"a":1,"a":2}',
]

/** Bodies of an agent that some parser somewhere would read. */
export const attack: Attack = {
  name: 'lax JSON',
  async round(target) {
    const socket = await dial(target, true)
    expectStatus(target, socket, 400, 413)
    for (const body of bodies) {
      socket.write(postJson(target, '/agents/echo/', body))
      await target.pause(50)
    }
    await target.pause(3_000)
    socket.destroy()
  },
}
