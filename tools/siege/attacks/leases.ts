import { encodeLeaseRequest } from '../../../packages/protocol/src/index.ts'
import { type Attack, dialHttp2, hold } from '../attack.ts'

const path = '/v1/channels/siege/leases'

/**
 * A member of a channel who waits on it in hundreds of requests, and takes nothing of what it
 * leases.
 */
export const attack: Attack = {
  name: 'leases that wait',
  round: (target) =>
    hold(target, 4, () => {
      const session = dialHttp2(target, true, { settings: { initialWindowSize: 0 } })
      for (let at = 0; at < 80; at++) {
        const group = `group-${at}`
        const body = encodeLeaseRequest({ group, count: 256, leaseMs: 1_000, waitMs: 5_000 })
        const stream = session.request({
          ...{ ':method': 'POST', ':path': path, 'content-type': 'application/json' },
        })
        stream.on('error', () => undefined)
        stream.once('response', (head) => {
          if ([200, 503].includes(Number(head[':status']))) target.confirm()
        })
        stream.end(body)
      }
      return session
    }),
}
