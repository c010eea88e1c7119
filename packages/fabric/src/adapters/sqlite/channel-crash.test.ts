import { expect, test } from 'vitest'
import { lossyDiskMissing } from '../../../../../tools/crash/queue-power-loss.ts'
import { crashQueueStore } from '../../../../../tools/crash/queue-store.ts'

const missing = lossyDiskMissing()
const skipped = missing === null ? '' : ` (skipped: ${missing})`
const clean = { lost: 0, changed: 0, resurrected: 0 }

test('a store that is killed keeps everything it acknowledged', async () => {
  const verdict = await crashQueueStore({ rounds: 2, synchronous: 'FULL', powerLoss: false })
  expect(verdict).toMatchObject(clean)
  expect(verdict.acknowledged).toBeGreaterThan(0)
})

test.skipIf(missing !== null)(
  `a power failure takes nothing that was acknowledged${skipped}`,
  async () => {
    const verdict = await crashQueueStore({ rounds: 2, synchronous: 'FULL', powerLoss: true })
    expect(verdict).toMatchObject(clean)
  },
)

test.skipIf(missing !== null)(
  `the same harness catches a store that does not sync every commit${skipped}`,
  async () => {
    const verdict = await crashQueueStore({ rounds: 5, synchronous: 'NORMAL', powerLoss: true })
    expect(verdict.lost + verdict.resurrected).toBeGreaterThan(0)
  },
)
