import { hash } from 'node:crypto'
import type { UsedValues } from '../../identity/replay-guard.ts'
import { clockDifferenceMsMax, type WatchedServer } from './watched-server.ts'

/** A day: no credential here lives longer. */
const windowMsMax = 86_400_000
/**
 * A window ends by the clock of the fabric that claims. Another fabric, whose clock is as far
 * behind that of the server as this one is ahead, would accept the value for this much longer.
 */
const otherClocksMs = 2 * clockDifferenceMsMax

/** The agreement of the processes of a fabric, so that no two of them use different servers. */
export interface Agreement {
  /** Resolves to the marker of the server that all of them use; rejects where there is none. */
  marker(): Promise<string>
  /** Called when the server has another marker; resolves when the agreement was tried anew. */
  seek(): Promise<void>
  /** As `UsedValues.lostAt`, for values that another server has. */
  lostAt(): number
}

/** Used values that all fabrics with this server share. */
export function redisUsedValues(server: WatchedServer, agreement: Agreement): UsedValues {
  const claim = async (value: string, windowMs: number): Promise<unknown> => {
    // By its hash: a long value must not cost more memory than a short one, and an operator of the
    // server reads no nonces.
    const key = `${server.prefix}:used:${hash('sha256', value, 'base64url')}`
    const args = [await agreement.marker(), String(Math.ceil(windowMs) + otherClocksMs)]
    return server.run('claim', [server.markerKey, key], args)
  }
  return {
    async claim(value, windowMs) {
      if (!(windowMs > 0 && windowMs <= windowMsMax)) throw new RangeError('window out of range')
      let answer = await claim(value, windowMs)
      if (answer === -1) {
        // The server was flushed, or another fabric discovered a loss. The look learns its time,
        // by which the caller decides about this value.
        await server.lookAgain()
        await agreement.seek()
        answer = await claim(value, windowMs)
      }
      if (answer !== 0 && answer !== 1) throw new Error('the server has not the agreed marker')
      return answer === 1
    },
    lostAt: () => Math.max(server.lostAt(), agreement.lostAt()),
  }
}
