import { type Attack, at, dial, dialHttp2, get, hold, postJson, type Target } from '../attack.ts'

/** The sequence of the present state. */
async function sequenceOf(target: Target): Promise<string> {
  const socket = await dial(target, true)
  socket.write(get(target, '/v1/mesh/state'))
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  await target.pause(500)
  socket.destroy()
  return /"sequence":(\d+)/.exec(text)?.[1] ?? '-1'
}

const endpoint = (salt: number) => ({
  ...{ url: `https://127.0.0.1:9/${salt}-${'x'.repeat(1_900)}`, protocol: 'http', connector: true },
})

/**
 * An agent that waits for the state of the mesh in hundreds of polls, and changes it all the time.
 */
export const attack: Attack = {
  name: 'polls of the mesh state',
  async round(target) {
    const after = await sequenceOf(target)
    const changes = await dial(target, true)
    changes.resume()
    let salt = 0
    const timer = setInterval(() => {
      const endpoints = Array.from({ length: 16 }, () => endpoint(salt++))
      const body = { instance: `i${salt % 8}`, ttlSeconds: 60, endpoints }
      changes.write(postJson(target, '/v1/mesh/endpoints', JSON.stringify(body)))
    }, 200)
    await hold(at(target, target.port), 3, () => {
      const session = dialHttp2(target, true)
      for (let stream = 0; stream < 90; stream++) {
        const poll = session.request({ ':path': `/v1/mesh/state?after=${after}` })
        poll.on('error', () => undefined).resume()
        poll.once('response', (head) => {
          if ([200, 503].includes(Number(head[':status']))) target.confirm()
        })
      }
      return session
    }).finally(() => clearInterval(timer))
    changes.destroy()
  },
}
