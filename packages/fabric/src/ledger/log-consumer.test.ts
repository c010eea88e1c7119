import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { deadline } from '../../../../test/harness/deadline.ts'
import { MemoryLog } from '../../../../test/harness/memory-log.ts'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { memoryKeys } from '../../../../tools/crash/memory-keys.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import type { OpenedEntry } from './ledger-reads.ts'
import { ConsumerBehind, type DerivedState, LogConsumer, type Rebuilt } from './log-consumer.ts'
import type { ReplacedKeyStore } from './replaced-keys.ts'
import { StateFile } from './state-file.ts'
import { LedgerBusy } from './unavailable.ts'

/** Depends on each entry, on their order, and on how often each was taken. */
class Folded implements DerivedState {
  taken: number[] = []
  digest = 0

  apply({ index, facts }: OpenedEntry): void {
    this.taken.push(index)
    this.digest = (Math.imul(this.digest, 31) + Number(facts['n']) + 1) | 0
  }

  lines(): Iterable<string> {
    return [String(this.digest), ...this.taken.map(String)]
  }

  restore(lines: Iterable<string>): void {
    const [digest, ...taken] = lines
    if (digest === undefined) throw new TypeError('no state')
    this.digest = Number(digest)
    this.taken = taken.map(Number)
  }

  *forget(isSubject: (name: string) => boolean): Generator<void, void> {
    for (const index of this.taken) {
      yield
      if (isSubject(String(index))) this.taken = this.taken.filter((each) => each !== index)
    }
  }
}

const path = '/consumers/fold.state'

/** The secrets of a disk: they survive what it survives. */
const secrets = new WeakMap<LossyDisk, ReplacedKeyStore>()

function secretsOf(disk: LossyDisk): ReplacedKeyStore {
  const kept = secrets.get(disk) ?? memoryKeys()
  secrets.set(disk, kept)
  return kept
}

/** A disk with the same content, and the same secrets. */
function copyOf(disk: LossyDisk): LossyDisk {
  const copy = disk.copy()
  secrets.set(copy, secretsOf(disk))
  return copy
}

interface OpenOptions {
  readonly limits?: Record<string, number>
  readonly origin?: string
  readonly keys?: ReplacedKeyStore
}

async function open(
  log: MemoryLog,
  disk: LossyDisk,
  { limits = {}, origin = 'a.test/ledger/a', keys = secretsOf(disk) }: OpenOptions = {},
) {
  const state = new Folded()
  const rebuilt: Rebuilt[] = []
  const consumer = await LogConsumer.open({
    ...{ name: 'fold', ledger: log, state, clock: systemClock, log: () => undefined },
    file: new StateFile({
      ...{ directory: '/consumers', name: 'fold', origin, keys, random: systemRandom },
      files: disk.mount(),
    }),
    limits: { writeMs: 0, pageEntries: 7, ...limits },
    recordRebuilt: async (each) => void rebuilt.push(each),
  })
  return { consumer, state, rebuilt }
}

const range = (from: number, end: number) => Array.from({ length: end - from }, (_, i) => from + i)

test('a process that is killed at any point ends in the state of one that never died', async () => {
  const step = fc.oneof(
    fc.record({ append: fc.integer({ min: 1, max: 40 }), isAnnounced: fc.boolean() }),
    fc.record({ turns: fc.integer({ min: 1, max: 12 }) }),
    fc.record({
      kill: fc.constantFrom('process', 'power'),
      survives: fc.infiniteStream(fc.boolean()),
    }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const disk = new LossyDisk()
      const log = new MemoryLog()
      let { consumer, state, rebuilt } = await open(log, disk)
      for (const each of steps) {
        if ('append' in each) log.append(each.append, each.isAnnounced)
        else if ('turns' in each) {
          for (let i = 0; i < each.turns; i++) await new Promise(setImmediate)
        } else {
          log.forgetReaders()
          const { survives } = each
          if (each.kill === 'power') disk.powerLoss(() => survives.next().value === true)
          else disk.restart()
          ;({ consumer, state, rebuilt } = await open(log, disk))
        }
        expect(rebuilt).toEqual([])
      }
      log.append(1)
      await consumer.close()
      const whole = new Folded()
      for (const entry of log.entries) whole.apply(entry)
      expect(state.taken).toEqual(range(0, log.size))
      expect(state.digest).toBe(whole.digest)
    }),
    { numRuns: 100 },
  )
})

test('an orderly end leaves nothing to read, and the next start has the same state', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  const first = await open(log, disk)
  log.append(30)
  await first.consumer.close()
  disk.restart()
  const read = log.read.bind(log)
  const reads: number[] = []
  log.read = (from, count) => {
    reads.push(from)
    return read(from, count)
  }
  const { state } = await open(log, disk)
  expect(state.taken).toEqual(range(0, 30))
  // To see that it is the log of the file.
  expect(reads).toEqual([29])
})

test('an earlier file that is put back leads to the same state', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  const first = await open(log, disk)
  log.append(10)
  await first.consumer.close()
  const earlier = disk.readWhole(path)
  disk.restart()
  const second = await open(log, disk)
  log.append(10)
  await second.consumer.close()
  disk.restart()
  disk.overwrite(path, earlier)
  const { state, rebuilt } = await open(log, disk)
  expect(state.taken).toEqual(range(0, 20))
  expect(rebuilt).toEqual([])
})

test('a file that is missing is made anew, and what it loses is recorded', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  log.append(100)
  expect((await open(log, disk)).rebuilt).toEqual([])
  const limits = { catchUpEntries: 40 }
  const fresh = new LossyDisk()
  const { state, rebuilt, consumer } = await open(log, fresh, { limits })
  expect(state.taken).toEqual(range(60, 100))
  expect(rebuilt).toEqual([{ name: 'fold', reason: 'missing', from: 60 }])
  await consumer.close()
  fresh.restart()
  // It is recorded once.
  expect((await open(log, fresh, { limits })).rebuilt).toEqual([])
})

test('a file that is too old keeps its state, and the gap is recorded', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  log.append(10)
  await (await open(log, disk)).consumer.close()
  log.forgetReaders()
  log.append(90)
  disk.restart()
  const { state, rebuilt } = await open(log, disk, { limits: { catchUpEntries: 40 } })
  expect(state.taken).toEqual([...range(0, 10), ...range(60, 100)])
  expect(rebuilt).toEqual([{ name: 'fold', reason: 'too-old', from: 60 }])
})

test('a file with any other byte, cut, or of another log is not taken, and that is recorded', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  log.append(20)
  await (await open(log, disk)).consumer.close()
  log.forgetReaders()
  const good = disk.readWhole(path)
  const changed = range(0, good.length).map((at) => good.with(at, (good[at] ?? 0) ^ 1))
  const cut = [0, 1, 12, 28, good.length - 1].map((length) => good.subarray(0, length))
  for (const bytes of [...changed, ...cut, Buffer.concat([good, Buffer.of(0)])]) {
    disk.restart()
    disk.overwrite(path, Buffer.from(bytes))
    const { state, rebuilt } = await open(log, copyOf(disk))
    expect(rebuilt).toEqual([{ name: 'fold', reason: 'damaged', from: 0 }])
    expect(state.taken).toEqual(range(0, 20))
  }
  disk.restart()
  disk.overwrite(path, good)
  const other = await open(log, copyOf(disk), { origin: 'a.test/ledger/b' })
  expect(other.rebuilt).toMatchObject([{ reason: 'damaged' }])
  // The same name with another history, and a log that was cut back.
  const forked = new MemoryLog()
  forked.append(19)
  forked.add([{ kind: 'refusal', exchange: 'exc_other', at: 19, facts: { n: 19 } }])
  const short = new MemoryLog()
  short.append(19)
  for (const another of [forked, short]) {
    const { state, rebuilt } = await open(another, copyOf(disk))
    expect(rebuilt).toMatchObject([{ reason: 'other-log' }])
    expect(state.taken).toEqual(range(0, another.size))
  }
})

test('an entry that was erased is skipped and counted, also over a start', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  const first = await open(log, disk)
  log.append(3)
  const erased = { kind: 'intent', exchange: 'exc_3', index: 3, at: 3, facts: {} } as const
  log.entries.push(erased)
  log.append(2)
  await first.consumer.close()
  expect(first.consumer.status).toMatchObject({ position: 6, behind: 0, skipped: 1, saved: 6 })
  disk.restart()
  const { consumer, state } = await open(log, disk)
  expect(consumer.status.skipped).toBe(1)
  expect(state.taken).toEqual([0, 1, 2, 4, 5])
})

test('entries that were read before they were announced are not taken again', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  const { consumer, state } = await open(log, disk)
  log.append(3, false)
  log.append(1)
  await vi.waitFor(() => expect(state.taken).toEqual(range(0, 4)), deadline)
  log.announce(log.entries.slice(1))
  log.append(1)
  await consumer.close()
  expect(state.taken).toEqual(range(0, 5))
})

/** A log whose entry of index 5 was erased, and the file of a state that has it still. */
async function erasedInLog(disk: LossyDisk) {
  const log = new MemoryLog()
  const { consumer } = await open(log, disk)
  log.append(12)
  await consumer.close()
  const erased = log.entries[5]
  if (erased !== undefined) log.entries[5] = { ...erased, facts: {} }
  const earlier = disk.readWhole(path)
  disk.restart()
  return { log, earlier }
}

const isFive = (name: string): boolean => name === '5'
const withoutFive = range(0, 12).filter((index) => index !== 5)

test('an erased subject is gone from the state, its file, and every earlier copy of that', async () => {
  const disk = new LossyDisk()
  const { log, earlier } = await erasedInLog(disk)
  const { consumer, state } = await open(log, disk)
  expect(state.taken).toEqual(range(0, 12))
  const firstKey = Buffer.from((await secretsOf(disk).load()) ?? []).subarray(-32)
  // Entries go on meanwhile, and are in the file as well.
  const forgetting = consumer.forget(isFive)
  log.append(2)
  await forgetting
  log.append(1)
  expect(state.taken).toEqual([...withoutFive, 12, 13, 14])
  expect(Buffer.from((await secretsOf(disk).load()) ?? []).includes(firstKey)).toBe(false)
  disk.restart()
  log.forgetReaders()
  const next = await open(log, disk)
  expect(next.rebuilt).toEqual([])
  expect(next.state.taken).toEqual([...withoutFive, 12, 13, 14])
  await next.consumer.close()
  disk.restart()
  disk.overwrite(path, earlier)
  // It is read from the log, which has nothing of the subject either.
  const last = await open(log, disk)
  expect(last.rebuilt).toMatchObject([{ reason: 'damaged' }])
  expect(last.state.taken).toEqual([...withoutFive, 12, 13, 14])
})

test('an erasure that is killed at any point loses no state, and is completed later', async () => {
  const kill = fc.record({
    turns: fc.integer({ min: 0, max: 40 }),
    isPower: fc.boolean(),
    survives: fc.infiniteStream(fc.boolean()),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(kill, { minLength: 1, maxLength: 3 }), async (kills) => {
      const disk = new LossyDisk()
      const kept = secretsOf(disk)
      const { log, earlier } = await erasedInLog(disk)
      for (const { turns, isPower, survives } of kills) {
        let isAlive = true
        disk.restart()
        log.forgetReaders()
        const store = (value: Uint8Array) =>
          isAlive ? kept.store(value) : Promise.reject(new Error('killed'))
        const opened = await open(log, disk, { keys: { load: () => kept.load(), store } })
        expect(opened.rebuilt).toEqual([])
        const forgetting = opened.consumer.forget(isFive).catch(() => undefined)
        for (let i = 0; i < turns; i++) await new Promise(setImmediate)
        isAlive = false
        if (isPower) disk.powerLoss(() => survives.next().value === true)
        else disk.restart()
        await forgetting
      }
      disk.restart()
      log.forgetReaders()
      const last = await open(log, disk)
      expect(last.rebuilt).toEqual([])
      await last.consumer.forget(isFive)
      expect(last.state.taken).toEqual(withoutFive)
      disk.restart()
      expect((await open(log, disk)).state.taken).toEqual(withoutFive)
      disk.restart()
      disk.overwrite(path, earlier)
      expect((await open(log, disk)).rebuilt).toMatchObject([{ reason: 'damaged' }])
    }),
    { numRuns: 25 },
  )
})

test('an erasure that cannot replace file or key is reported, and is done when it can', async () => {
  const disk = new LossyDisk()
  const { log } = await erasedInLog(disk)
  let refused = 2
  const kept = secretsOf(disk)
  const { consumer, state } = await open(log, disk, {
    keys: {
      load: () => kept.load(),
      store: (value) =>
        refused-- > 0 ? Promise.reject(new Error('no secrets')) : kept.store(value),
    },
  })
  await expect(consumer.forget(isFive)).rejects.toThrow('no secrets')
  // Not known to be durable, but in its place: its key has to stay.
  disk.failNext('syncDirectory')
  refused = 0
  await expect(consumer.forget(isFive)).rejects.toThrow()
  disk.failNext('rename')
  await expect(consumer.forget(isFive)).rejects.toThrow()
  const { rebuilt } = await open(log, copyOf(disk), { keys: memoryKeys(await kept.load()) })
  expect(rebuilt).toEqual([])
  // The state goes on under the earlier key.
  log.append(1)
  await consumer.close()
  await consumer.forget(isFive)
  expect(state.taken).toEqual([...withoutFive, 12])
  disk.restart()
  expect((await open(log, disk)).state.taken).toEqual([...withoutFive, 12])
})

test('a state that is far behind, or that cannot follow, decides nothing', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  const { consumer } = await open(log, disk, { limits: { behindEntriesMax: 10 } })
  log.append(11, false)
  expect(() => consumer.assertCurrent()).toThrow(ConsumerBehind)
  log.append(1)
  await consumer.close()
  expect(consumer.assertCurrent()).toBeUndefined()
  const broken = await open(log, new LossyDisk())
  log.read = () => Promise.reject(new Error('the disk is gone'))
  log.append(1, false)
  log.append(1)
  await broken.consumer.close()
  expect(() => broken.consumer.assertCurrent()).toThrow(ConsumerBehind)
})

test('a log that too many others read is read later', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  const { consumer, state } = await open(log, disk)
  const read = log.read.bind(log)
  let refused = 0
  log.read = (from, count) => {
    if (refused++ > 1) return read(from, count)
    return Promise.reject(new LedgerBusy({ name: 'ledger.reads', value: 1, unit: 'count' }, 'busy'))
  }
  log.append(1, false)
  log.append(1)
  await vi.waitFor(() => expect(state.taken).toEqual([0, 1]), deadline)
  await consumer.close()
  expect(consumer.assertCurrent()).toBeUndefined()
})

test('a file that cannot be written leaves the earlier one, and the state goes on', async () => {
  const [log, disk] = [new MemoryLog(), new LossyDisk()]
  const { consumer, state } = await open(log, disk)
  log.append(5)
  await consumer.close()
  disk.restart()
  const second = await open(log, disk, { limits: { writeMs: 3_600_000 } })
  log.append(5)
  disk.failNext('sync')
  await second.consumer.close()
  expect(second.consumer.status).toMatchObject({ position: 10, saved: 5 })
  disk.restart()
  expect((await open(log, disk)).state.taken).toEqual(range(0, 10))
  expect(state.taken).toEqual(range(0, 5))
})

test('the ledger announces every entry in the order of the log, its own ones too', async () => {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const ledger = await openLossyLedger(disk, keys)
  const seen: OpenedEntry[] = []
  let acknowledged = 0
  const ahead: boolean[] = []
  ledger.onDurable((entries) => {
    seen.push(...entries)
    ahead.push(seen.length > acknowledged)
  })
  const at = 1_700_000_000_000
  await Promise.all(
    Array.from({ length: 40 }, async () => {
      const exchange = newExchange()
      await ledger.append({ kind: 'intent', exchange, at, facts: { caller: 'x' } })
      acknowledged += 1
      await ledger.append({ kind: 'outcome', exchange, at, facts: { result: 'delivered' } })
      acknowledged += 1
      await ledger.append({ kind: 'refusal', exchange: newExchange(), at, facts: { code: 'X' } })
      acknowledged += 1
    }),
  )
  expect(seen.map(({ index }) => index)).toEqual(range(1, 121))
  expect(ahead.every(Boolean)).toBe(true)
  const { entries } = await ledger.read(1, 120)
  expect(seen).toEqual(entries)
  await ledger.close()
})

test('the entries of a connector count at the time of their batch, also in pages that divide it', async () => {
  const entry = (index: number, change: Partial<OpenedEntry>): OpenedEntry => ({
    ...{ kind: 'refusal', exchange: `exc_${index}`, at: 1_000, facts: { n: 1 }, index, ...change },
  })
  // Ten entries state times of their own; the facts of the fourth were erased.
  const stated = range(1, 11).map((index) =>
    entry(index, { at: index * 999, facts: index === 4 ? {} : { producer: 'x' } }),
  )
  const about = entry(11, { kind: 'batch', at: 2_000, facts: { producer: 'x' } })
  const entries = [entry(0, {}), ...stated, about, entry(12, { at: 3_000 })]
  let listener: (entries: readonly OpenedEntry[]) => void = () => undefined
  const ledger = {
    ...{ first: 0, size: 8, pruning: { keepFrom: () => () => undefined } },
    onDurable(each: typeof listener) {
      listener = each
      return () => undefined
    },
    read: async (from: number, count: number) => {
      const some = entries.slice(from, Math.min(ledger.size, from + count))
      return { entries: some, next: from + some.length }
    },
  }
  const taken: [number, number][] = []
  const consumer = await LogConsumer.open({
    ...{ name: 'times', ledger, clock: systemClock, log: () => undefined },
    state: {
      apply: ({ index, at }) => void taken.push([index, at]),
      lines: () => [],
      restore: () => undefined,
      forget: () => [][Symbol.iterator](),
    },
    file: { read: async () => null, write: async () => undefined, replace: async () => undefined },
    limits: { pageEntries: 3 },
    recordRebuilt: async () => undefined,
  })
  // The state covers no part of a batch, so that a file of it leads to the rest.
  expect(taken).toEqual([[0, 1_000]])
  expect(consumer.status).toMatchObject({ position: 1 })
  ledger.size = 13
  listener(entries.slice(8))
  const others = range(1, 11).filter((index) => index !== 4)
  expect(taken.slice(1)).toEqual([...others, 11].map((i) => [i, 2_000]).concat([[12, 3_000]]))
  expect(consumer.status).toMatchObject({ position: 13, behind: 0, skipped: 1 })
  await consumer.close()
})
