import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import type { Ledger } from './ledger.ts'
import { ReadTurns } from './read-turns.ts'
import { LedgerBusy } from './unavailable.ts'

const limits = { readsMax: 6, readsPerOwnerMax: 3 }

/** A clock that stands still: turns end by their steps. */
const turnsOf = () => new ReadTurns(limits, () => 0)

/** Counts the turns of the event loop until `work` is done. */
async function countTurns(work: Promise<unknown>): Promise<number> {
  let isDone = false
  void work.finally(() => {
    isDone = true
  })
  let turns = 0
  // A promise that is resolved is seen in the same turn.
  for (await Promise.resolve(); !isDone; turns++) await setImmediate()
  await work
  return turns
}

async function walk(turns: ReadTurns, owner: string, steps: number): Promise<void> {
  await turns.run(owner, async (pace) => {
    for (let step = 0; step < steps; step++) await pace()
  })
}

test('a read leaves the event loop to others after 64 steps', async () => {
  expect(await countTurns(walk(turnsOf(), 'a', 64))).toBeLessThanOrEqual(1)
  expect(await countTurns(walk(turnsOf(), 'a', 640))).toBeGreaterThanOrEqual(9)
})

test('many reads together take no more of a turn than one', async () => {
  const turns = turnsOf()
  const reads = ['a', 'b', 'c', 'd'].map((owner) => walk(turns, owner, 320))
  expect(await countTurns(Promise.all(reads))).toBeGreaterThanOrEqual(19)
})

test('one reader with many reads holds up its own', async () => {
  const turns = turnsOf()
  const ended: string[] = []
  const reads = ['a', 'a', 'a', 'b'].map(async (owner, n) => {
    await walk(turns, owner, 640)
    ended.push(`${owner}${n}`)
  })
  await Promise.all(reads)
  expect(ended[0]).toBe('b3')
})

test('places are shared, and given back', async () => {
  const turns = turnsOf()
  const waiting = Promise.withResolvers<void>()
  const wait = (owner: string) => turns.run(owner, () => waiting.promise)
  const reads = [wait('a'), wait('a'), wait('a')]
  await expect(wait('a')).rejects.toMatchObject({ limit: { name: 'ledger.readsPerReader' } })
  reads.push(wait('b'), wait('b'))
  await expect(wait('b')).rejects.toBeInstanceOf(LedgerBusy)
  waiting.resolve()
  await Promise.all(reads)
  await turns.run('a', () => Promise.resolve())
})

async function fill(ledger: Ledger, count: number): Promise<void> {
  const facts = { caller: 'a', receiver: 'x', code: 'NOT_PERMITTED' }
  const at = 1_700_000_000_000
  for (let n = 0; n < count; n += 100) {
    const drafts = Array.from({ length: 100 }, () => ({
      ...{ kind: 'refusal' as const, exchange: newExchange(), at, facts },
    }))
    await Promise.all(drafts.map((draft) => ledger.append(draft)))
  }
}

test('the log is read, listed and searched in turns, also where all of it is in memory', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), createLedgerKeys())
  await fill(ledger, 1_300)
  const terms = [{ table: 'caller' as const, values: ['a'] }]
  const reads = [
    () => ledger.read(0, 1_000),
    () => ledger.list({ countMax: 1_000 }),
    () => ledger.list({ countMax: 1_000, terms }),
    () => ledger.list({ countMax: 1_000, since: 1 }),
    () => ledger.check(),
  ]
  for (const read of reads) expect(await countTurns(read())).toBeGreaterThanOrEqual(15)
  await ledger.close()
})

test('checks that are asked for at once are two at most', async () => {
  let checks = 0
  const keys = createLedgerKeys()
  const ledger = await openLossyLedger(new LossyDisk(), keys, {
    heads: (store) => ({
      ...{ replace: store.replace.bind(store), sync: store.sync.bind(store) },
      load() {
        checks += 1
        return store.load()
      },
    }),
  })
  await fill(ledger, 100)
  const before = checks
  const checked = await Promise.all(Array.from({ length: 20 }, () => ledger.check()))
  expect(new Set(checked.map(({ entries }) => entries))).toEqual(new Set([101]))
  expect(checks - before).toBe(2)
  await ledger.close()
})
