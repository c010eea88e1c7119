import { type Attack, dialPlain, hold } from '../attack.ts'

/** Connections that begin no handshake, or only half of one. */
export const attack: Attack = {
  name: 'idle handshakes',
  async round(target) {
    let count = 0
    const open = await hold(target, 120, async () => {
      const socket = await dialPlain(target)
      socket.resume()
      if (count++ % 2 === 0) socket.write(Buffer.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01))
      return socket
    })
    // They were let wait, and occupied a place each.
    if (open.length > 0) target.confirm()
  },
}
