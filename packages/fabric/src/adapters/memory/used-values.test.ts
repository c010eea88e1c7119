import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, inject, test } from 'vitest'
import { usedValuesContract } from '../../../../../test/contracts/replay-guard.ts'
import { memoryUsedValues } from './used-values.ts'
import { openValueFiles } from './value-files.ts'
import { recordBytes } from './value-format.ts'

const startedAt = 1_800_000_000_000
const bootId = '01234567-89ab-cdef-0123-456789abcdef'

/** A clock that survives restarts of what uses it; the monotonic one does not. */
function fakeClock() {
  let at = 0
  let bootedAt = 0
  return {
    now: () => startedAt + at,
    monotonic: () => at - bootedAt,
    restart: () => {
      bootedAt = at
    },
    advance: (ms: number) => {
      at += ms
    },
  }
}

function openInMemory(valuesMax: number) {
  const clock = fakeClock()
  const values = memoryUsedValues({ clock, valuesMax })
  return { values, wait: async (ms: number) => clock.advance(ms) }
}

function openFolder() {
  const dir = mkdtempSync(join(inject('worldsDir'), 'used-'))
  const clock = fakeClock()
  const losses: string[] = []
  let isFirst = true
  let files: ReturnType<typeof openValueFiles> | null = null
  /** As a new process would, after the end of the one before. */
  const start = (
    changes: { bootId?: string | null; isFirst?: boolean; valuesMax?: number } = {},
  ) => {
    clock.restart()
    const { valuesMax = 100 } = changes
    files = openValueFiles({
      ...{ dir, clock, bootId, isFirst, valuesMax },
      onLoss: (reason) => losses.push(reason),
      onFault: (cause) => losses.push(`fault: ${String(cause)}`),
      ...changes,
    })
    isFirst = false
    return memoryUsedValues({ clock, files, valuesMax })
  }
  const names = () => readdirSync(dir).toSorted()
  const only = () => join(dir, names()[0] ?? 'none')
  return { dir, clock, losses, start, names, only, close: () => files?.close() }
}

usedValuesContract('memory', {
  open: async (valuesMax) => openInMemory(valuesMax),
  unitMs: 1_000,
  isExact: true,
})

usedValuesContract('memory and files', {
  async open(valuesMax) {
    const { clock, start } = openFolder()
    return { values: start({ valuesMax }), wait: async (ms) => clock.advance(ms) }
  },
  unitMs: 1_000,
  isExact: true,
})

test('the engine answers as a list of claims would, and keeps no more than it must', async () => {
  const step = fc.record({
    value: fc.constantFrom('a', 'b', 'c'),
    windowMs: fc.integer({ min: 1, max: 5_000 }),
    waitMs: fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.constant(1_000_000)),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { values, wait } = openInMemory(100)
      const ends = new Map<string, number>()
      let at = 0
      for (const { value, windowMs, waitMs } of steps) {
        const live = (ends.get(value) ?? 0) > at
        expect(await values.claim(value, windowMs)).toBe(!live)
        if (!live) ends.set(value, at + windowMs)
        await wait(waitMs)
        at += waitMs
      }
      await wait(10_000)
      await values.claim('last', 1)
      expect(values.size()).toBe(1)
    }),
  )
})

test('without files each start is a loss', async () => {
  expect(openInMemory(10).values.lostAt()).toBe(startedAt)
})

test('a restart forgets nothing that is live, at whatever claim the process ended', async () => {
  const step = fc.oneof(
    fc.record({
      value: fc.constantFrom('a', 'b', 'c'),
      windowMs: fc.integer({ min: 1, max: 9e5 }),
    }),
    fc.record({ waitMs: fc.integer({ min: 0, max: 4e5 }) }),
    fc.constant('restart' as const),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const folder = openFolder()
      let values = folder.start()
      const ends = new Map<string, number>()
      for (const one of steps) {
        const now = folder.clock.now()
        // Nothing is closed: the process ends in the middle.
        if (one === 'restart') values = folder.start()
        else if ('waitMs' in one) folder.clock.advance(one.waitMs)
        else if ((ends.get(one.value) ?? 0) > now) {
          expect(await values.claim(one.value, one.windowMs)).toBe(false)
        } else if (await values.claim(one.value, one.windowMs)) {
          ends.set(one.value, now + one.windowMs)
        }
        expect(values.lostAt()).toBe(Number.NEGATIVE_INFINITY)
      }
      expect(folder.losses).toEqual([])
      folder.close()
    }),
    { numRuns: 40 },
  )
})

test('a start leaves one file, and traffic removes those whose values have expired', async () => {
  const { start, names, clock } = openFolder()
  for (let restart = 0; restart < 5; restart++) {
    await start().claim(`r${restart}`, 60_000)
    expect(names()).toHaveLength(1)
  }
  const values = start()
  for (let i = 0; i < 30; i++) {
    clock.advance(60_000)
    await values.claim(`n${i}`, 300_000)
    expect(names().length).toBeLessThanOrEqual(5)
  }
})

test('an expired value is dropped at a start, and is good again', async () => {
  const { start, clock, only } = openFolder()
  await start().claim('n', 60_000)
  clock.advance(121_000)
  const values = start()
  expect(readFileSync(only())).toHaveLength(recordBytes)
  expect(await values.claim('n', 60_000)).toBe(true)
})

test('a wall clock that was set ahead while no process was running frees no value early', async () => {
  const { start, clock } = openFolder()
  await start().claim('n', 60_000)
  clock.advance(90_000)
  // The monotonic clock of the new process starts at zero: for it, no time has passed.
  expect(await start().claim('n', 60_000)).toBe(false)
})

test('a torn last record is not a loss: its claim was never answered', async () => {
  const { start, only, losses } = openFolder()
  const first = start()
  await first.claim('kept', 60_000)
  await first.claim('torn', 60_000)
  truncateSync(only(), 3 * recordBytes - 1)
  const values = start()
  expect(values.lostAt()).toBe(Number.NEGATIVE_INFINITY)
  expect(await values.claim('kept', 60_000)).toBe(false)
  expect(await values.claim('torn', 60_000)).toBe(true)
  expect(losses).toEqual([])
})

type Damage = (path: string, dir: string) => void

const damages: Readonly<Record<string, Damage>> = {
  'a flipped bit in a record': (path) => {
    const bytes = readFileSync(path)
    bytes[recordBytes + 5] = (bytes[recordBytes + 5] ?? 0) ^ 1
    writeFileSync(path, bytes)
  },
  'a flipped bit in the head': (path) => {
    const bytes = readFileSync(path)
    bytes[30] = (bytes[30] ?? 0) ^ 1
    writeFileSync(path, bytes)
  },
  'a file of something else': (path) => writeFileSync(path, 'not ours'.repeat(100)),
  'an empty file': (path) => truncateSync(path),
  'text behind the records': (path) => appendFileSync(path, 'x'.repeat(recordBytes)),
  'a copy of the file': (path) => {
    copyFileSync(path, `${path}.copy`)
    rmSync(path)
    renameSync(`${path}.copy`, path)
  },
  'a folder in its place': (path) => {
    rmSync(path)
    mkdirSync(path)
  },
  'a file without end': (path) => {
    rmSync(path)
    writeFileSync(path, new Uint8Array(10_000_000))
  },
  'a missing file': (path) => rmSync(path),
}

test.each(Object.entries(damages))('%s is a loss that is logged, and lasts', async (_, damage) => {
  const { start, only, losses, clock, dir, names } = openFolder()
  await start().claim('n', 60_000)
  damage(only(), dir)
  clock.advance(1_000)
  const values = start()
  expect(values.lostAt()).toBe(startedAt + 1_000)
  expect(losses).toHaveLength(names().length === 1 ? 1 : 2)
  await values.claim('later', 60_000)
  clock.advance(1_000)
  // Another start does not shorten the loss.
  expect(start().lostAt()).toBeGreaterThanOrEqual(startedAt + 1_000)
})

test('a start of the host is a loss, and so is each start where boots have no id', async () => {
  const { start, losses, clock } = openFolder()
  await start().claim('n', 60_000)
  clock.advance(1_000)
  expect(start({ bootId: 'fedcba98-7654-3210-0123-456789abcdef' }).lostAt()).toBe(clock.now())
  clock.advance(1_000)
  expect(start({ bootId: null }).lostAt()).toBe(clock.now())
  expect(losses).toHaveLength(2)
})

test('more values than there is room for are a loss, not an endless file', async () => {
  const { start, clock } = openFolder()
  const values = start()
  for (let i = 0; i < 20; i++) await values.claim(`n${i}`, 60_000)
  expect(start({ valuesMax: 19 }).lostAt()).toBe(clock.now())
})

test('a value that cannot be written is not accepted until it can be', async () => {
  const { start, dir, clock, losses } = openFolder()
  const values = start()
  await values.claim('before', 600_000)
  rmSync(dir, { recursive: true })
  // The next claim needs a new file.
  clock.advance(120_000)
  await expect(values.claim('n', 600_000)).rejects.toThrow('ENOENT')
  await expect(values.claim('n', 600_000)).rejects.toThrow('ENOENT')
  mkdirSync(dir)
  expect(await values.claim('n', 600_000)).toBe(true)
  expect(await values.claim('n', 600_000)).toBe(false)
  expect(await values.claim('before', 600_000)).toBe(false)
  expect(losses).toEqual([])
})
