import { hash } from 'node:crypto'
import type { UsedValues } from '../../identity/replay-guard.ts'
import type { WatchedServer } from './watched-server.ts'

/** A day: no credential here lives longer. */
const windowMsMax = 86_400_000

/** Used values that all fabrics with this server share. */
export function redisUsedValues(server: WatchedServer): UsedValues {
  const claim = (value: string, windowMs: number): Promise<unknown> => {
    // By its hash: a long value must not cost more memory than a short one, and an operator of the
    // server reads no nonces.
    const key = `${server.prefix}:used:${hash('sha256', value, 'base64url')}`
    const window = String(Math.ceil(windowMs))
    return server.run('claim', [server.markerKey, key], (markerId) => [markerId, window])
  }
  return {
    async claim(value, windowMs) {
      if (!(windowMs > 0 && windowMs <= windowMsMax)) throw new RangeError('window out of range')
      let answer = await claim(value, windowMs)
      if (answer === -1) {
        // The server was flushed, or another fabric discovered a loss. The look learns its time,
        // by which the caller decides about this value.
        await server.lookAgain()
        answer = await claim(value, windowMs)
      }
      if (answer !== 0 && answer !== 1) throw new Error('the server keeps losing its marker')
      return answer === 1
    },
    lostAt: () => server.lostAt(),
  }
}
