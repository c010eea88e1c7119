import {
  type Attack,
  at,
  dial,
  dialPlain,
  expectStatus,
  hold,
  post,
  postJson,
  type Target,
} from '../attack.ts'

const half = (target: Target): string => post(target, '/echo', ['Content-Length: 4000000'])

/** Half bodies, refusals and calls at both listeners of connectors. */
export const attack: Attack = {
  name: 'listeners of connectors',
  async round(target) {
    const mesh = at(target, target.doors.mesh)
    const loopback = at(target, target.doors.loopback)
    let count = 0
    await hold(target, 16, async () => {
      const isInside = count++ % 2 === 0
      const socket = isInside ? await dialPlain(loopback) : await dial(mesh, count % 4 === 0)
      expectStatus(target, socket, 200, 400, 401, 403, 404, 408, 421, 503)
      const whole = isInside ? '/nobody/' : '/'
      socket.write(postJson(isInside ? loopback : mesh, whole, '{"call":"siege"}'))
      await target.pause(50)
      socket.write(half(isInside ? loopback : mesh))
      socket.write(Buffer.alloc(64 * 1024, 0x20))
      return socket
    })
  },
}
