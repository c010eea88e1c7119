import { copyFileSync, mkdtempSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { usedValuesContract } from '../../../../../test/contracts/replay-guard.ts'
import { openSharedValues } from './used-values.ts'

const startedAt = 1_800_000_000_000
const bootId = '01234567-89ab-cdef-0123-456789abcdef'

function openFolder() {
  const dir = mkdtempSync(join(inject('worldsDir'), 'shared-'))
  let at = 0
  const losses: string[] = []
  return {
    dir,
    losses,
    advance: (ms: number) => {
      at += ms
    },
    /** As one more process. */
    open: (changes: { bootId?: string | null; isFirst?: boolean; valuesMax?: number } = {}) =>
      openSharedValues({
        ...{ dir, bootId, isFirst: true, valuesMax: 100, now: () => at, ...changes },
        clock: { now: () => startedAt + at },
        onLoss: (reason) => losses.push(reason),
      }),
  }
}

usedValuesContract('a file that replicas share', {
  open: async (valuesMax) => {
    const { open, advance } = openFolder()
    return { values: await open({ valuesMax }), wait: async (ms) => advance(ms) }
  },
  unitMs: 1_000,
  isExact: true,
})

test('of all processes that claim a value at a time, one gets it', async () => {
  const { open } = openFolder()
  const [one, two] = [await open(), await open()]
  const values = Array.from({ length: 600 }, (_, i) => `n${i}`)
  const claims = await Promise.all(
    [one, two].map((each) => Promise.all(values.map((value) => each.claim(value, 60_000)))),
  )
    .then((all) => all)
    .catch((error: unknown) => String(error))
  expect(claims).toMatch(/holds 100 live values/)
  const few = values.slice(0, 50)
  const again = await Promise.all(
    [one, two].flatMap((each) => few.map((value) => each.claim(value, 60_000))),
  )
  expect(again.filter(Boolean)).toEqual([])
})

test('a value that one process used is used for one that starts later, and no loss', async () => {
  const { open, losses } = openFolder()
  const one = await open()
  expect(await one.claim('n', 60_000)).toBe(true)
  const two = await open({ isFirst: false })
  expect(await two.claim('n', 60_000)).toBe(false)
  expect(await two.claim('m', 60_000)).toBe(true)
  one.close()
  two.close()
  const three = await open({ isFirst: false })
  expect(await three.claim('m', 60_000)).toBe(false)
  expect(three.lostAt()).toBe(Number.NEGATIVE_INFINITY)
  expect(losses).toEqual([])
})

test('a start of the host is a loss for all, and what it left is removed', async () => {
  const { open, advance, losses, dir } = openFolder()
  const before = await open()
  await before.claim('n', 60_000)
  before.close()
  advance(1_000)
  const next = { bootId: 'fedcba98-7654-3210-0123-456789abcdef', isFirst: false }
  const one = await open(next)
  advance(1_000)
  const two = await open(next)
  expect([one.lostAt(), two.lostAt()]).toEqual([startedAt + 1_000, startedAt + 1_000])
  expect(losses).toHaveLength(1)
  expect(readdirSync(dir).filter((name) => name.startsWith(bootId))).toEqual([])
})

test('a copy of the file is a loss, and so is each start where boots have no id', async () => {
  const { open, advance, dir } = openFolder()
  const first = await open()
  await first.claim('n', 60_000)
  first.close()
  const path = join(dir, `${bootId}.shared`)
  copyFileSync(path, `${path}.copy`)
  renameSync(`${path}.copy`, path)
  advance(1_000)
  const second = await open({ isFirst: false })
  expect(second.lostAt()).toBe(startedAt + 1_000)
  expect(await second.claim('n', 60_000)).toBe(false)
  second.close()
  advance(1_000)
  expect((await open({ isFirst: false })).lostAt()).toBe(startedAt + 1_000)
  expect((await open({ bootId: null })).lostAt()).toBe(startedAt + 2_000)
})

test('expired values make room, and those that are left are counted over restarts', async () => {
  const { open, advance } = openFolder()
  const one = await open({ valuesMax: 3 })
  for (const value of ['a', 'b']) await one.claim(value, 1_000)
  await one.claim('c', 10_000)
  const two = await open({ valuesMax: 3 })
  await expect(two.claim('d', 1_000)).rejects.toThrow('takes no more')
  advance(5_000)
  expect(await two.claim('d', 10_000)).toBe(true)
  expect(await two.claim('e', 10_000)).toBe(true)
  await expect(one.claim('f', 10_000)).rejects.toThrow('takes no more')
})

test('a file that cannot be written refuses, and reports so until it can', async () => {
  const { open } = openFolder()
  const values = await open()
  expect(values.fault()).toBeNull()
  values.close()
  await expect(values.claim('n', 1_000)).rejects.toThrow()
  expect(values.fault()).toMatch(/cannot be kept/)
})
