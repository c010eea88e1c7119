import { afterEach, expect, test } from 'vitest'
import { testClock } from '../../../../test/contracts/identity-lab.ts'
import { memoryStateStore, StateMemory } from '../adapters/memory/state-store.ts'
import { systemRandom } from '../lib/random.ts'
import { StateStream } from '../state/state-stream.ts'
import { Erasures } from './erasures.ts'
import type { Erasure } from './ledger.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const key = systemRandom(32)
const order = { owner: 'operator', name: 'leaver', exchange: 'exc_1', slots: ['a'] }

const namesOf = (isSubject: (name: string) => boolean): string =>
  ['leaver', 'other'].filter(isSubject).join(' ')

/** A process of slot a, with a copy that forgets only while `works` is true. */
async function openProcess(memory: StateMemory, copy = { works: true }) {
  const fail = (cause: unknown) => {
    throw cause
  }
  const state = await StateStream.open({
    ...{ store: memoryStateStore(memory), clock: testClock(), onFatal: fail, onReadFault: fail },
    ...{ onReadAgain: () => undefined, onHistory: () => undefined, limits: { pollMs: 2 ** 30 } },
  })
  const done: string[] = []
  const erase = async ({ isSubject }: Erasure) => {
    done.push(`log of ${namesOf(isSubject)}`)
    return { entries: 3, underWay: 0 }
  }
  const forget = async (isSubject: (name: string) => boolean) => {
    if (!copy.works) throw new Error('no space')
    done.push(`copy of ${namesOf(isSubject)}`)
  }
  const ledger = { slot: 'a', erase, assertErasable: () => undefined }
  const erasures = await Erasures.open({ state, ledger, key, log: () => undefined })
  closers.push(
    () => state.close(),
    () => erasures.close(),
  )
  return { erasures, copies: [{ forget }], done }
}

test('an erasure is confirmed once every copy has forgotten its subject', async () => {
  const { erasures, copies, done } = await openProcess(new StateMemory())
  await erasures.cover(copies)
  expect(await erasures.begin(order)).toEqual({ entries: 3, underWay: 0, pending: [] })
  expect(done).toEqual(['log of leaver', 'copy of leaver'])
})

test('a copy that cannot forget keeps the erasure open, over a start, and refuses that', async () => {
  const memory = new StateMemory()
  const copy = { works: false }
  const first = await openProcess(memory, copy)
  await first.erasures.cover(first.copies)
  await expect(first.erasures.begin(order)).rejects.toThrow('no space')
  const second = await openProcess(memory, copy)
  expect(second.done).toEqual(['log of leaver'])
  await expect(second.erasures.cover(second.copies)).rejects.toThrow('no space')
  copy.works = true
  const third = await openProcess(memory, copy)
  await third.erasures.cover(third.copies)
  // The log is not asked twice by one process.
  expect(third.done).toEqual(['log of leaver', 'copy of leaver'])
  const last = await openProcess(memory, copy)
  await last.erasures.cover(last.copies)
  expect(last.done).toEqual([])
})
