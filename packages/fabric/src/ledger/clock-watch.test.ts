import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { systemClock } from '../lib/clock.ts'
import { ClockBehind, ClockWatch } from './clock-watch.ts'
import type { Ledger } from './ledger.ts'

const keys = createLedgerKeys()
const minuteMs = 60_000
const dayMs = 86_400_000

/** A clock that a test sets. */
class SetClock {
  wall = systemClock.now()
  elapsed = 0
  readonly now = (): number => this.wall
  readonly monotonic = (): number => this.elapsed

  pass(ms: number): void {
    this.wall += ms
    this.elapsed += ms
  }
}

/** The newest entries of a small ledger, newest first. */
const newestOf = async (ledger: Ledger) =>
  (await ledger.read(0, 1_000)).entries.toReversed().slice(0, 20)

const refusal = () =>
  ({ kind: 'refusal', exchange: newExchange(), at: 1, facts: { n: 1 } }) as const

test('a clock that was ahead for one start is accepted once, by name, and on record', async () => {
  for (const aheadMs of [2 * dayMs, 3_650 * dayMs]) {
    const disk = new LossyDisk()
    const clock = new SetClock()
    await (await openLossyLedger(disk, keys, { clock })).close()
    clock.pass(aheadMs)
    const ahead = await openLossyLedger(disk, keys, { clock })
    await ahead.append(refusal())
    const { headAt } = ahead.state
    await ahead.close()
    clock.pass(minuteMs - aheadMs)
    const open = (acceptClock?: number) =>
      openLossyLedger(disk, keys, { clock, ...(acceptClock === undefined ? {} : { acceptClock }) })
    await expect(open()).rejects.toThrow(`--accept-clock ${new Date(headAt).toISOString()}`)
    await expect(open(headAt + 1)).rejects.toThrow(ClockBehind)
    await expect(open(clock.wall)).rejects.toThrow(ClockBehind)
    const accepted = await open(headAt)
    const [entry] = await newestOf(accepted)
    expect(entry).toMatchObject({
      kind: 'lifecycle',
      at: clock.wall,
      facts: { event: 'clock-accepted', 'clock.before': headAt, 'clock.after': clock.wall },
    })
    expect(accepted.state.headAt).toBe(clock.wall)
    expect((await accepted.check()).entries).toBe(accepted.size)
    await accepted.close()
    // From now on the clock is an ordinary one, and the option that stayed behind accepts nothing.
    await (await open(headAt)).close()
    clock.pass(-dayMs)
    await expect(open(headAt)).rejects.toThrow(ClockBehind)
  }
})

test('an accepted clock that is not on record is asked for again', async () => {
  const disk = new LossyDisk()
  const clock = new SetClock()
  const first = await openLossyLedger(disk, keys, { clock })
  const { headAt: acceptClock } = first.state
  await first.close()
  clock.pass(-dayMs)
  let asked = 0
  for (let at = 1; asked < 40; at++) {
    const tried = disk.copy()
    tried.restart({ at, when: 'before', process: 'dies' })
    const opened = await openLossyLedger(tried, keys, { clock, acceptClock }).catch(() => null)
    await opened?.close().catch(() => undefined)
    tried.powerLoss('synced')
    const again = await openLossyLedger(tried, keys, { clock }).catch(() => null)
    if (again !== null) {
      const events = (await newestOf(again)).map(({ facts }) => facts['event'])
      expect(events).toContain('clock-accepted')
      await again.close()
      break
    }
    asked += 1
  }
  expect(asked).toBeGreaterThan(3)
  expect(asked).toBeLessThan(40)
})

test('a clock that jumps ahead and back while the ledger runs is on record, and the next start works', async () => {
  const disk = new LossyDisk()
  const clock = new SetClock()
  const ledger = await openLossyLedger(disk, keys, { clock })
  const events = async () =>
    (await newestOf(ledger)).flatMap(({ facts }) => facts['event'] ?? []).length
  for (const jumpMs of [2 * dayMs, 3_650 * dayMs]) {
    const before = await events()
    clock.wall += jumpMs
    await ledger.append(refusal())
    await ledger.append(refusal())
    expect(await events()).toBe(before + 1)
    clock.pass(minuteMs)
    clock.wall -= jumpMs
    await ledger.append(refusal())
    expect(await events()).toBe(before + 2)
  }
  expect(ledger.state.headAt).toBeLessThanOrEqual(clock.wall)
  await ledger.close()
  await (await openLossyLedger(disk, keys, { clock })).close()
})

test('a jump ahead that lasts is the time after an hour', async () => {
  const clock = new SetClock()
  const watch = new ClockWatch(clock, minuteMs)
  clock.wall += dayMs
  expect(watch.look()).toMatchObject({ after: clock.wall })
  expect(watch.headTime()).toBe(clock.wall - dayMs)
  clock.pass(61 * minuteMs)
  expect(watch.look()).toBeNull()
  expect(watch.headTime()).toBe(clock.wall)
})

test('a clock that is only corrected a little is never reported, however long it runs', () => {
  const corrections = fc.array(
    fc.tuple(fc.nat(10 * minuteMs), fc.integer({ min: -30_000, max: 30_000 })),
  )
  fc.assert(
    fc.property(corrections, (steps) => {
      const clock = new SetClock()
      const watch = new ClockWatch(clock, minuteMs)
      for (const [passedMs, correctionMs] of steps) {
        clock.pass(passedMs)
        clock.wall += correctionMs
        expect(watch.look()).toBeNull()
        expect(watch.headTime()).toBe(clock.wall)
      }
    }),
  )
})

test('every jump beyond the tolerance is reported once', () => {
  const jumps = fc.array(fc.integer({ min: -100, max: 100 }), { maxLength: 30 })
  fc.assert(
    fc.property(jumps, (days) => {
      const clock = new SetClock()
      const watch = new ClockWatch(clock, minuteMs)
      for (const each of days) {
        const before = clock.wall
        clock.wall += each * dayMs
        const expected = each === 0 ? null : { before, after: clock.wall }
        expect(watch.look()).toEqual(expected)
        expect(watch.look()).toBeNull()
      }
    }),
  )
})
