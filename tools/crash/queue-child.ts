import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import {
  dangerouslyLoseAcknowledged,
  openSqliteChannelStore,
} from '../../packages/fabric/src/adapters/sqlite/channel-store.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'

/**
 * Publishes and settles as fast as it can until it is killed, and writes to its standard output
 * what was acknowledged: `p <offset> <number>`, `i <offset>` before settling and `s <offset>` after
 * it. Arguments: directory, FULL or NORMAL, the first number.
 */
const [, , directory = '', synchronous = 'FULL', from = '0'] = process.argv
const producers = 4

export function bodyOf(number: number): Uint8Array {
  const block = createHash('sha256').update(String(number)).digest()
  return new Uint8Array(Buffer.concat(Array.from({ length: 32 }, () => block)))
}

const pause = new Int32Array(new SharedArrayBuffer(4))

function say(line: string): void {
  // Synchronous, so that nothing is reported later than it was true; the pipe's reader may be
  // slower.
  for (let rest = Buffer.from(`${line}\n`); rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
      Atomics.wait(pause, 0, 0, 1)
    }
  }
}

async function run(): Promise<void> {
  const store = await openSqliteChannelStore({
    directory,
    clock: systemClock,
    random: systemRandom,
    onFatal: (error) => say(`f ${String(error.cause)}`),
    sweepMs: 50,
    [dangerouslyLoseAcknowledged]: synchronous === 'NORMAL',
  })
  let next = Number(from)
  const produce = async (): Promise<never> => {
    for (;;) {
      const number = next++
      const now = Date.now()
      const [result] = await store.publish([
        {
          channel: 'crash',
          messageId: `m${number}`,
          idempotencyHash: `k${number}`,
          contentHash: `c${number}`,
          orderingHash: null,
          sealed: bodyOf(number),
          now,
          expiresAt: now + 36_000_000,
        },
      ])
      if (result?.state === 'stored') say(`p ${result.offset} ${number}`)
    }
  }
  const consume = async (): Promise<never> => {
    for (;;) {
      const now = Date.now()
      const order = {
        channel: 'crash',
        group: 'g',
        countMax: 2,
        bytesMax: 2 ** 23,
        now,
        leaseMs: 3_600_000,
      }
      const leased = await store.lease(order)
      const orders = leased.map(({ message: { offset }, leaseToken }) => ({
        channel: 'crash',
        group: 'g',
        offset,
        leaseToken,
        now,
        verdict: 'ack' as const,
        delayMs: 0,
        reason: '',
      }))
      // Written before, because a settled message may be swept before the settlement is reported.
      for (const { offset } of orders) say(`i ${offset}`)
      const settled = await store.settle(orders)
      for (const [i, { offset }] of orders.entries()) if (settled[i] === true) say(`s ${offset}`)
    }
  }
  say('ready')
  await Promise.all([...Array.from({ length: producers }, produce), consume()])
}

if (import.meta.main) await run()
