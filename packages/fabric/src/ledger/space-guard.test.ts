import { statfs } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { systemClock } from '../lib/clock.ts'
import type { EntryKind } from './ledger.ts'
import { ledgerLimits } from './limits.ts'
import { inTime, SpaceGuard } from './space-guard.ts'
import type { LedgerBusy } from './unavailable.ts'

const { freeBytesMin, freeBytesReserve } = ledgerLimits
const keys = createLedgerKeys()

function draft(kind: EntryKind, exchange = newExchange()) {
  return { kind, exchange, at: systemClock.now(), facts: { n: 1 } }
}

function atHand() {
  let now = 0
  return {
    clock: { now: systemClock.now, monotonic: () => now },
    wait: (ms: number) => {
      now += ms
    },
  }
}

test('the first entry after a pause is judged by the space that is free then', async () => {
  const disk = new LossyDisk()
  const { clock, wait } = atHand()
  const ledger = await openLossyLedger(disk, keys, { clock })
  await ledger.append(draft('refusal'))
  wait(60_000)
  disk.free = 0
  await expect(ledger.append(draft('refusal'))).rejects.toMatchObject({
    limit: { name: 'ledger.freeBytesReserve' },
  })
  await ledger.close()
})

test('while no exchange may begin, exchanges still end and administration goes on', async () => {
  const disk = new LossyDisk()
  const { clock, wait } = atHand()
  const ledger = await openLossyLedger(disk, keys, { clock })
  const states: string[] = []
  ledger.onSpace(({ state }) => void states.push(state))
  const [ending, ended] = [newExchange(), newExchange()]
  for (const exchange of [ending, ended]) await ledger.append(draft('intent', exchange))
  disk.free = freeBytesMin - 1
  wait(1_000)
  const opening = { limit: { name: 'ledger.freeBytes', value: freeBytesMin } }
  for (const kind of ['intent', 'refusal'] as const) {
    await expect(ledger.append(draft(kind))).rejects.toMatchObject(opening)
  }
  const administered = newExchange()
  const intent = { ...draft('intent', administered), purpose: 'administration' } as const
  await ledger.append(intent)
  await ledger.append(draft('outcome', administered))
  await ledger.append(draft('outcome', ended))
  disk.free = freeBytesReserve - 1
  wait(100)
  const reserved = { limit: { name: 'ledger.freeBytesReserve', value: freeBytesReserve } }
  await expect(ledger.append({ ...intent, exchange: newExchange() })).rejects.toMatchObject(
    reserved,
  )
  await expect(ledger.append(draft('outcome', ending))).rejects.toMatchObject(reserved)
  disk.free = freeBytesMin
  wait(1_000)
  await ledger.append(draft('outcome', ending))
  expect(states).toEqual(['full', 'exhausted', 'low'])
  expect((await ledger.check()).unclosed).toBe(0)
  await ledger.close()
})

test('reading stops long before administration, and what is done goes on record as long as that', async () => {
  const disk = new LossyDisk()
  const { clock, wait } = atHand()
  const ledger = await openLossyLedger(disk, keys, { clock })
  const purposes = [null, 'oversight', 'administration', 'lifecycle'] as const
  const limits = async (): Promise<readonly unknown[]> => {
    const deps = purposes.map((purpose) =>
      ledger.assertSpace(purpose).then(
        () => null,
        (cause: LedgerBusy) => cause.limit.name,
      ),
    )
    const appended = purposes.map((purpose) => {
      const entry = draft(purpose === 'lifecycle' ? 'lifecycle' : 'intent')
      return ledger.append(purpose === null ? entry : { ...entry, purpose }).then(
        () => null,
        (cause: LedgerBusy) => cause.limit.name,
      )
    })
    const asked = await Promise.all(deps)
    expect(await Promise.all(appended)).toEqual(asked)
    return asked
  }
  const { freeBytesRead } = ledgerLimits
  for (const [free, expected] of [
    [freeBytesMin, [null, null, null, null]],
    [freeBytesMin - 1, ['ledger.freeBytes', null, null, null]],
    [freeBytesRead, ['ledger.freeBytes', null, null, null]],
    [freeBytesRead - 1, ['ledger.freeBytes', 'ledger.freeBytesRead', null, null]],
    [freeBytesReserve, ['ledger.freeBytes', 'ledger.freeBytesRead', null, null]],
    [freeBytesReserve - 1, purposes.map(() => 'ledger.freeBytesReserve')],
  ] as const) {
    disk.free = free
    wait(1_000)
    expect(await limits()).toEqual(expected)
  }
  await ledger.close()
  await expect(ledger.assertSpace('lifecycle')).rejects.toThrow('closing')
})

test('a measurement is shared by all that wait for one, and none is made while it is fresh', async () => {
  const { clock, wait } = atHand()
  let measured = 0
  const guard = new SpaceGuard({
    freeBytes: () => Promise.resolve(1_000 * ++measured),
    ...{ refuseBytes: 100, readBytes: 50, reserveBytes: 10, warnBytes: 200, clock },
  })
  await Promise.all([guard.freshen(), guard.freshen(), guard.freshen()])
  expect(measured).toBe(1)
  wait(999)
  expect(guard.freshen()).toBeNull()
  wait(1)
  await guard.freshen()
  expect(guard.space.freeBytes).toBe(2_000)
})

test('nothing begins on a disk that cannot be measured', async () => {
  const { clock } = atHand()
  const guard = new SpaceGuard({
    freeBytes: () => Promise.reject(new Error('EIO')),
    ...{ refuseBytes: 100, readBytes: 50, reserveBytes: 10, warnBytes: 200, clock },
  })
  await guard.freshen()
  expect(() => guard.assertSpace('opening')).toThrow('an unknown number')
  expect(() => guard.assertSpace('reserved')).not.toThrow()
})

test('a disk that has answered during a stall of the event loop was measured', async () => {
  const measured = statfs('.').then(({ bavail, bsize }) => bavail * bsize)
  const inTurn = inTime(measured, 20)
  const endsAt = performance.now() + 200
  while (performance.now() < endsAt);
  expect(await inTurn).toBeGreaterThan(0)
  expect(await inTime(new Promise(() => undefined), 20)).toBe(null)
})
