import { describe, expect, test, vi } from 'vitest'
import { heldLease } from '../../../../tools/crash/held-lease.ts'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { openFileLedgerStore } from '../adapters/file/ledger-store.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { type Lease, LeaseLost } from '../state/lease.ts'
import { openLedger } from './open-ledger.ts'
import { LedgerUnavailable } from './unavailable.ts'

const keys = createLedgerKeys()
const draft = () =>
  ({ kind: 'refusal', exchange: newExchange(), at: systemClock.now(), facts: { n: 1 } }) as const

/** A lease that a test lets expire, and then renews or gives to another process. */
function testLease() {
  let answer: ((isRenewed: boolean) => void) | null = null
  let regained: Promise<void> | null = null
  let lost: LeaseLost | null = null
  const listeners: ((cause: LeaseLost) => void)[] = []
  const lease: Lease = {
    ...heldLease,
    holds: () => regained === null && lost === null,
    regain: () => (lost === null ? regained : Promise.reject(lost)),
    onLost(listener) {
      listeners.push(listener)
      return () => undefined
    },
  }
  const expire = () => {
    regained = new Promise((resolve, reject) => {
      answer = (isRenewed) => {
        regained = null
        if (isRenewed) return resolve()
        lost = new LeaseLost('another process took it')
        reject(lost)
        for (const listener of listeners) listener(lost)
      }
    })
    regained.catch(() => undefined)
  }
  return { lease, expire, settle: (isRenewed: boolean) => answer?.(isRenewed) }
}

async function openFenced() {
  const disk = new LossyDisk()
  const held = testLease()
  const onFatal = vi.fn<(cause: unknown) => void>()
  const onCommit = vi.fn<() => void>()
  const onWrite = vi.fn<(path: string) => void>()
  const files = { directory: '/ledger', files: disk.mount(), lock: disk.lock }
  const store = await openFileLedgerStore(files)
  const ledger = await openLedger({
    ...{ ...keys, clock: systemClock, random: systemRandom, onFatal, lease: held.lease },
    origin: 'ledger.test/ledger/a',
    store: {
      ...store,
      commit: async (commit) => {
        await store.commit(commit)
        onCommit()
      },
      resources: {
        read: (path) => store.resources.read(path),
        readPart: (path, position, length) => store.resources.readPart(path, position, length),
        stat: (path) => store.resources.stat(path),
        list: (directory) => store.resources.list(directory),
        remove: (paths) => store.resources.remove(paths),
        async write(resources) {
          for (const { path } of resources) onWrite(path)
          await store.resources.write(resources)
        },
      },
    },
  })
  await ledger.append(draft())
  return { disk, ledger, onFatal, onCommit, onWrite, ...held }
}

describe('a ledger whose lease has expired', () => {
  test('waits with every entry, and goes on when no other process took it', async () => {
    const { ledger, expire, settle, onCommit } = await openFenced()
    const commits = onCommit.mock.calls.length
    expire()
    const appended = ledger.append(draft())
    await new Promise(setImmediate)
    expect(onCommit.mock.calls.length).toBe(commits)
    settle(true)
    expect((await appended).index).toBe(2)
    await ledger.close()
  })

  test('signs and writes nothing once another process took it, and stops [record:one-holder]', async () => {
    const { disk, ledger, expire, settle, onFatal, onCommit } = await openFenced()
    const commits = onCommit.mock.calls.length
    const head = disk.readWhole('/ledger/head')
    expire()
    const appended = [ledger.append(draft()), ledger.append(draft())].map((each) =>
      expect(each).rejects.toThrow(LedgerUnavailable),
    )
    settle(false)
    await Promise.all(appended)
    expect(onFatal).toHaveBeenCalledOnce()
    expect(onFatal.mock.calls[0]?.[0]).toBeInstanceOf(LeaseLost)
    await expect(ledger.append(draft())).rejects.toThrow(LedgerUnavailable)
    await ledger.close()
    expect(onCommit.mock.calls.length).toBe(commits)
    expect(disk.readWhole('/ledger/head')).toEqual(head)
  })

  test('does not acknowledge what became durable while it expired [record:one-holder]', async () => {
    const { ledger, expire, settle, onFatal, onCommit } = await openFenced()
    const before = ledger.size
    onCommit.mockImplementationOnce(expire)
    const acknowledged = vi.fn<() => void>()
    const appended = ledger.append(draft()).then(acknowledged)
    const rejected = expect(appended).rejects.toThrow('another process took it')
    await expect.poll(() => onCommit.mock.calls.length).toBe(3)
    await new Promise(setImmediate)
    expect(ledger.size).toBe(before)
    settle(false)
    await rejected
    expect(acknowledged).not.toHaveBeenCalled()
    expect(onFatal).toHaveBeenCalledOnce()
    await ledger.close()
  })

  test('publishes no head and gives none out [record:one-holder]', async () => {
    const { ledger, expire, settle, onWrite } = await openFenced()
    const { exchange } = await ledger.append(draft())
    const published = () => onWrite.mock.calls.filter(([path]) => path === 'checkpoint').length
    expire()
    const before = published()
    const read = [
      ledger.findReceipt(exchange),
      ledger.findResource('checkpoint'),
      // Another process may have closed the exchange meanwhile.
      ledger.explain(exchange),
    ].map((each) => expect(each).rejects.toThrow(LedgerUnavailable))
    // The round that publishes the last entries waits as well.
    const checked = expect(ledger.check()).rejects.toThrow(LedgerUnavailable)
    await new Promise(setImmediate)
    settle(false)
    await Promise.all([...read, checked])
    await ledger.close()
    expect(published()).toBe(before)
  })
})

test('an exchange of another slot is not recorded, whatever the kind of its entry', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const exchange = newExchange().replace('exc_a_', 'exc_b_')
  for (const kind of ['intent', 'outcome', 'refusal', 'lifecycle'] as const) {
    const entry = { kind, exchange, at: systemClock.now(), facts: { n: 1 } }
    await expect(ledger.append(entry), kind).rejects.toThrow('another log')
  }
  expect(ledger.size).toBe(1)
  await ledger.close()
})

test('the next holder of a slot closes what the former one left open', async () => {
  const disk = new LossyDisk()
  const first = await openLossyLedger(disk, keys)
  const exchange = newExchange()
  await first.append({ kind: 'intent', exchange, at: systemClock.now(), facts: { n: 1 } })
  disk.powerLoss('synced')
  const next = await openLossyLedger(disk, keys, { lease: { ...heldLease, token: 2 } })
  expect((await next.explain(exchange)).map(({ kind }) => kind)).toEqual([
    'intent',
    'indeterminate',
  ])
  await next.close()
})
