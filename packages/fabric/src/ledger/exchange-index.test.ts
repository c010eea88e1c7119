import { createHash } from 'node:crypto'
import { createExchangeId } from '@countersign/protocol'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeFilter, mayHaveKey } from './exchange-filter.ts'
import { ExchangeIndex, segmentPath } from './exchange-index.ts'
import {
  encodeSegment,
  exchangeKey,
  OpenChanges,
  pagesAt,
  parseSegmentHeader,
  rowsPerPage,
  searchPage,
  segmentHeaderBytes,
} from './exchange-segment.ts'
import type { EntryKind } from './ledger.ts'
import type { Resource, ResourceStore } from './store.ts'

class MemoryResources implements ResourceStore {
  readonly files = new Map<string, Uint8Array>()

  async read(path: string) {
    return this.files.get(path) ?? null
  }

  reads = 0

  async readPart(path: string, position: number, length: number) {
    this.reads += 1
    return this.files.get(path)?.subarray(position, position + length) ?? null
  }

  async write(resources: readonly Resource[]) {
    for (const { path, bytes } of resources) this.files.set(path, bytes)
  }

  async remove(paths: readonly string[]) {
    for (const path of paths) this.files.delete(path)
  }

  async stat(path: string) {
    const bytes = this.files.get(path)
    return bytes === undefined ? null : { kind: 'file' as const, bytes: bytes.length }
  }

  async list() {
    return [...this.files.keys()]
  }
}

interface Step {
  readonly exchange: string
  readonly kind: EntryKind
}

/** Exchanges that open, and mostly close, in some interleaving. */
const history = fc
  .array(fc.tuple(fc.nat(40), fc.constantFrom<EntryKind>('outcome', 'refusal', 'lifecycle')), {
    maxLength: 120,
  })
  .map((draws) => {
    const open = new Set<number>()
    return draws.map(([number, wish]): Step => {
      const exchange = `exchange-${number}`
      if (open.delete(number))
        return { exchange, kind: wish === 'lifecycle' ? 'indeterminate' : wish }
      if (wish !== 'outcome') return { exchange, kind: wish }
      open.add(number)
      return { exchange, kind: 'intent' }
    })
  })

function openAfter(steps: readonly Step[]): readonly string[] {
  const open = new Set<string>()
  for (const { exchange, kind } of steps) {
    if (kind === 'intent') open.add(exchange)
    else if (kind !== 'lifecycle') open.delete(exchange)
  }
  return [...open].sort()
}

test('open intents and entries are the same from memory, from files and after a restart', async () => {
  await fc.assert(
    fc.asyncProperty(history, fc.integer({ min: 1, max: 30 }), async (steps, segmentEntries) => {
      const resources = new MemoryResources()
      const index = new ExchangeIndex(resources, segmentEntries)
      for (const [at, step] of steps.entries()) {
        index.add({ ...step, index: at })
        if (at % 7 === 0) await index.store(at)
      }
      await index.store(steps.length)
      const restarted = new ExchangeIndex(resources, segmentEntries)
      const from = await restarted.restore(steps.length)
      expect(from).toBe(Math.floor(steps.length / segmentEntries) * segmentEntries)
      for (const [at, step] of steps.entries())
        if (at >= from) restarted.add({ ...step, index: at })
      for (const one of [index, restarted]) {
        expect([...one.open.keys()].sort()).toEqual(openAfter(steps))
        for (const exchange of new Set(steps.map((step) => step.exchange))) {
          await checkFound(one, steps, exchange)
        }
      }
    }),
  )
})

/**
 * The closing entry and its intent always; the rest of an id that was used again, in files only.
 */
async function checkFound(index: ExchangeIndex, steps: readonly Step[], exchange: string) {
  const found = await index.find(exchange)
  for (const at of found) expect(steps[at]?.exchange).toBe(exchange)
  const last = steps.findLastIndex((step) => step.exchange === exchange)
  expect(found).toContain(last)
  if (steps[last]?.kind !== 'intent' && steps[last]?.kind !== 'lifecycle') {
    const before = steps.slice(0, last)
    const intent = before.findLastIndex(
      (step) => step.exchange === exchange && step.kind === 'intent',
    )
    if (openAfter(before).includes(exchange)) expect(found).toContain(intent)
  }
}

test('an id is found among many, on every page', async () => {
  const resources = new MemoryResources()
  const count = rowsPerPage * 3 + 10
  const index = new ExchangeIndex(resources, count)
  for (let at = 0; at < count; at++) {
    index.add({ exchange: `id-${at}`, kind: 'refusal', index: at })
  }
  await index.store(count)
  const restarted = new ExchangeIndex(resources, count)
  await restarted.restore(count)
  for (let at = 0; at < count; at += 13) expect(await restarted.find(`id-${at}`)).toEqual([at])
  expect(await restarted.find('id-none')).toEqual([])
})

test('one key on several pages is found whole', async () => {
  const resources = new MemoryResources()
  const count = rowsPerPage * 2 + 5
  const index = new ExchangeIndex(resources, count)
  for (let at = 0; at < count; at++) index.add({ exchange: 'life', kind: 'lifecycle', index: at })
  await index.store(count)
  expect(await index.find('life')).toHaveLength(count)
})

test('an exchange is sought only where one as new as it is recorded', async () => {
  const resources = new MemoryResources()
  const index = new ExchangeIndex(resources, 2)
  const id = (at: number) =>
    createExchangeId('a', 1_800_000_000_000 + at, new Uint8Array(10).fill(at))
  // A connector's clock may be ahead: its exchange is older than its id states.
  const times = [1, 2, 99, 4, 5, 6, 7, 8]
  for (const [at, time] of times.entries()) {
    index.add({ exchange: id(time), kind: 'refusal', index: at })
  }
  await index.store(times.length)
  for (const [at, time] of times.entries()) expect(await index.find(id(time))).toEqual([at])
  resources.reads = 0
  expect(await index.find(id(100))).toEqual([])
  expect(resources.reads).toBe(0)
  expect(await index.find(id(98))).toEqual([])
  expect(resources.reads).toBe(0)
})

interface Recorded {
  /** Milliseconds after some day; null for an id that shows no time. */
  readonly time: number | null
  /** Later entries, after which the exchange is closed; null for a refusal. */
  readonly closedAfter: number | null
}

/** Clocks jump in both directions, and exchanges close at once or much later. */
const recordings = fc.array(
  fc.record<Recorded>({
    time: fc.option(fc.nat(1_000), { freq: 8 }),
    closedAfter: fc.option(fc.oneof(fc.nat(3), fc.nat(90))),
  }),
  { maxLength: 90 },
)

function entriesOf(recorded: readonly Recorded[]): readonly Step[] {
  const waiting: { readonly at: number; readonly step: Step }[] = []
  const steps: Step[] = []
  const closeUntil = (now: number) => {
    for (const each of waiting.splice(0)) {
      if (each.at <= now) steps.push(each.step)
      else waiting.push(each)
    }
  }
  for (const [at, { time, closedAfter }] of recorded.entries()) {
    const random = new Uint8Array(10).fill(at)
    const exchange =
      time === null ? `no-time-${at}` : createExchangeId('a', 1_800_000_000_000 + time, random)
    if (closedAfter === null) steps.push({ exchange, kind: 'refusal' })
    else {
      steps.push({ exchange, kind: 'intent' })
      waiting.push({ at: at + closedAfter, step: { exchange, kind: 'outcome' } })
    }
    closeUntil(at)
  }
  closeUntil(Number.POSITIVE_INFINITY)
  return steps
}

test('no entry is missed, whatever the clocks and the delays', async () => {
  await fc.assert(
    fc.asyncProperty(
      recordings,
      fc.integer({ min: 1, max: 12 }),
      fc.nat(180),
      async (recorded, segmentEntries, storedOf) => {
        const steps = entriesOf(recorded)
        const resources = new MemoryResources()
        const index = new ExchangeIndex(resources, segmentEntries)
        for (const [at, step] of steps.entries()) index.add({ ...step, index: at })
        await index.store(Math.min(storedOf, steps.length))
        for (const { exchange } of steps) {
          const scanned = [...steps.keys()].filter((at) => steps[at]?.exchange === exchange)
          expect(await index.find(exchange)).toEqual(scanned)
        }
      },
    ),
  )
})

test('an exchange of any age is read from one segment, also where times exclude none', async () => {
  const resources = new MemoryResources()
  const index = new ExchangeIndex(resources, 64)
  const exchanges: string[] = []
  for (let at = 0; at < 64 * 12; at++) {
    const random = createHash('sha256').update(`${at}`).digest().subarray(0, 10)
    // The clock of each segment goes over the same minute again.
    const exchange = createExchangeId('a', 1_800_000_000_000 + (at % 64) * 1000, random)
    exchanges.push(exchange)
    index.add({ exchange, kind: 'refusal', index: at })
  }
  await index.store(exchanges.length)
  await index.find(exchanges[0] ?? '')
  resources.reads = 0
  for (const [at, exchange] of exchanges.entries()) expect(await index.find(exchange)).toEqual([at])
  // A false positive of a filter costs one more page.
  expect(resources.reads).toBeGreaterThanOrEqual(exchanges.length)
  expect(resources.reads).toBeLessThan(exchanges.length * 1.5)
})

test('a filter excludes no key that it has, and nearly all others', () => {
  const keys = Array.from({ length: 2_000 }, (_, at) => exchangeKey(`exchange-${at}`))
  for (const count of [0, 1, 2, 7, 1_000]) {
    const filter = encodeFilter(keys.slice(0, count))
    for (const key of keys.slice(0, count)) expect(mayHaveKey(filter, key)).toBe(true)
    const passed = keys.slice(1_000).filter((key) => mayHaveKey(filter, key))
    expect(passed.length).toBeLessThan(20)
  }
})

function openSegment(): Buffer {
  const changes = new OpenChanges()
  changes.open('a', 0)
  return encodeSegment({ exchanges: [['a', [0]]], changes, openSince: 0 })
}

function pagesStart(segment: Uint8Array): number {
  const header = parseSegmentHeader(segment)
  if (header === null) throw new Error('no header')
  return pagesAt(header)
}

test('a damaged filter excludes nothing: it is an error', async () => {
  const resources = new MemoryResources()
  const index = new ExchangeIndex(resources, 1)
  index.add({ exchange: 'a', kind: 'refusal', index: 0 })
  await index.store(1)
  for (const bytes of resources.files.values()) {
    bytes[segmentHeaderBytes] = (bytes[segmentHeaderBytes] ?? 0) ^ 1
  }
  await expect(index.find('a')).rejects.toThrow('damaged')
})

test('a damaged page is never searched, and a damaged header or list is rebuilt', async () => {
  const start = pagesStart(openSegment())
  const page = openSegment().subarray(start, start + 4096)
  expect(searchPage(page, exchangeKey('a')).positions).toEqual([0])
  for (const at of [0, 5, 2000, 4088, 4095]) {
    const damaged = Buffer.from(page)
    damaged[at] = (damaged[at] ?? 0) ^ 4
    expect(() => searchPage(damaged, exchangeKey('a'))).toThrow('damaged')
  }
  const resources = new MemoryResources()
  for (const at of [1, 5, -1]) {
    const segment = openSegment()
    const where = at < 0 ? segment.length + at : at
    segment[where] = (segment[where] ?? 0) ^ 1
    resources.files.set(segmentPath(0), segment)
    expect(await new ExchangeIndex(resources, 1).restore(1)).toBe(0)
  }
})

test('an exchange that stays open is written once, however many segments follow', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(200), fc.integer({ min: 1, max: 30 }), async (open, segmentEntries) => {
      const resources = new MemoryResources()
      const index = new ExchangeIndex(resources, segmentEntries)
      const count = open + 20 * segmentEntries
      for (let at = 0; at < count; at++) {
        index.add({ exchange: `exchange-${at}`, kind: at < open ? 'intent' : 'refusal', index: at })
        await index.store(at + 1)
      }
      const text = [...resources.files.values()].map((bytes) =>
        Buffer.from(bytes).toString('latin1'),
      )
      const named = text.join('').match(/\+[0-9]+ exchange-/g) ?? []
      expect(named).toHaveLength(Math.min(open, count - (count % segmentEntries)))
      const restarted = new ExchangeIndex(resources, segmentEntries)
      await restarted.restore(count)
      expect(restarted.open.size).toBe(named.length)
    }),
  )
})

test('a start reads no segment before the oldest open intent', async () => {
  const resources = new MemoryResources()
  const index = new ExchangeIndex(resources, 4)
  for (let at = 0; at < 400; at++) {
    const [number, kind] = [Math.floor(at / 2), at % 2 === 0 ? 'intent' : 'outcome'] as const
    index.add({ exchange: `exchange-${number}`, kind, index: at })
  }
  await index.store(400)
  resources.reads = 0
  expect(await new ExchangeIndex(resources, 4).restore(400)).toBe(400)
  expect(resources.reads).toBe(1)
})

test('segments of the first format are rebuilt', async () => {
  const resources = new MemoryResources()
  const old = Buffer.from(openSegment())
  old.write('CSIY')
  resources.files.set(segmentPath(0), old)
  expect(await new ExchangeIndex(resources, 1).restore(1)).toBe(0)
})

test('the file of a segment has the entries in it, and not an intent before it', async () => {
  const resources = new MemoryResources()
  const index = new ExchangeIndex(resources, 2)
  index.add({ exchange: 'b', kind: 'intent', index: 0 })
  index.add({ exchange: 'c', kind: 'refusal', index: 1 })
  index.add({ exchange: 'b', kind: 'outcome', index: 2 })
  index.add({ exchange: 'd', kind: 'refusal', index: 3 })
  await index.store(4)
  const changes = new OpenChanges()
  changes.close('b', 0)
  const exchanges: [string, number[]][] = [
    ['d', [1]],
    ['b', [0]],
  ]
  const expected = encodeSegment({ exchanges, changes, openSince: 4 })
  expect(Buffer.from(resources.files.get(segmentPath(1)) ?? []).equals(expected)).toBe(true)
})
