import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import type { EntryKind, FactValue, Ledger } from './ledger.ts'
import type { LinePage } from './ledger-reads.ts'

const keys = createLedgerKeys()

const draft = (kind: EntryKind, exchange: string, facts: Record<string, FactValue> = { n: 1 }) => ({
  ...{ kind, exchange, at: 1_700_000_000_000, facts },
})

/** Each exchange with the kinds of its entries, newest first. */
const shown = ({ lines }: LinePage) =>
  lines.map(({ exchange, entries }) => [exchange, entries.map(({ kind }) => kind).join(' ')])

/** Exchanges that overlap: `n` of them, of which each ends after the next one began. */
async function overlap(ledger: Ledger, n: number): Promise<readonly string[]> {
  const exchanges = Array.from({ length: n }, () => newExchange())
  for (const [i, exchange] of exchanges.entries()) {
    await ledger.append(draft('intent', exchange))
    const before = exchanges[i - 1]
    if (before !== undefined) await ledger.append(draft('outcome', before, { result: 'delivered' }))
  }
  return exchanges
}

test('an exchange is one line, where it ended, or where it began while it is under way', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const [a = '', b = '', c = ''] = await overlap(ledger, 3)
  const refused = newExchange()
  await ledger.append(draft('refusal', refused, { code: 'NOT_PERMITTED' }))
  const page = await ledger.list({ countMax: 10 })
  expect(shown(page)).toEqual([
    [refused, 'refusal'],
    [b, 'intent outcome'],
    [c, 'intent'],
    [a, 'intent outcome'],
    ['genesis', 'genesis'],
  ])
  expect(page.lines.map(({ index }) => index)).toEqual([6, 5, 4, 3, 0])
  expect([page.older, page.newer]).toEqual([null, ledger.size])
  await ledger.append(draft('outcome', c, { result: 'delivered' }))
  expect(shown(await ledger.list({ countMax: 1 }))).toEqual([[c, 'intent outcome']])
  await ledger.close()
})

test('an entry of administration within an exchange is not a line; by itself it is one', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const [asked, own] = [newExchange(), newExchange()]
  await ledger.append(draft('intent', asked))
  await ledger.append(draft('lifecycle', asked, { event: 'policies-changed' }))
  expect(shown(await ledger.list({ countMax: 1 }))).toEqual([[asked, 'intent']])
  await ledger.append(draft('outcome', asked, { result: 'delivered' }))
  await ledger.append(draft('lifecycle', own, { event: 'started' }))
  await ledger.append(draft('lifecycle', own, { event: 'started-again' }))
  const all = [
    [own, 'lifecycle'],
    [asked, 'intent outcome'],
    ['genesis', 'genesis'],
  ]
  expect(shown(await ledger.list({ countMax: 9 }))).toEqual(all)
  // Page by page it is the same, although a page ends within an exchange.
  const pages: unknown[] = []
  for (let before: number | null = ledger.size; before !== null; ) {
    const page = await ledger.list({ countMax: 1, before })
    pages.push(...shown(page))
    before = page.older
  }
  expect(pages).toEqual(all)
  await ledger.close()
})

test('the entry about a batch is not a line', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const [exchange = ''] = await overlap(ledger, 1)
  await ledger.append(draft('batch', 'bat_1', { producer: 'spiffe://a.test/agent/b' }))
  expect(shown(await ledger.list({ countMax: 9 }))).toEqual([
    [exchange, 'intent'],
    ['genesis', 'genesis'],
  ])
  await ledger.close()
})

test('pages in both directions meet, whatever the size of a page, on old entries as on new ones', async () => {
  const disk = new LossyDisk()
  const limits = { segmentEntries: 16, windowBytesMax: 1, publishEntries: 1 }
  const first = await openLossyLedger(disk, keys, { limits })
  const slow = newExchange()
  await first.append(draft('intent', slow))
  await overlap(first, 200)
  await first.append(draft('outcome', slow, { result: 'delivered' }))
  await first.close()
  const ledger = await openLossyLedger(disk, keys, { limits: { ...limits, readOpenedMax: 64 } })
  const whole = new Map<number, string>()
  for (const countMax of [1, 7, 1_000]) {
    const down = []
    for (let before: number | null = ledger.size; before !== null; ) {
      const page = await ledger.list({ countMax, before })
      expect(page.lines.length).toBeLessThanOrEqual(countMax)
      down.push(...page.lines)
      before = page.older
    }
    const up = []
    for (let after = 0; after < ledger.size; ) {
      const page = await ledger.list({ countMax, after })
      up.unshift(...page.lines)
      expect(page.newer).toBeGreaterThan(after)
      after = page.newer
    }
    expect(up).toEqual(down)
    expect(new Set(down.map(({ exchange }) => exchange)).size).toBe(down.length)
    for (const { index, exchange } of down) whole.set(index, exchange)
    expect(down).toHaveLength(whole.size)
  }
  // 200 of the overlap, the slow one, and the genesis; the last was closed by the second start.
  expect(whole.size).toBe(202)
  const slowLine = (await ledger.list({ countMax: 3 })).lines.find(
    ({ exchange }) => exchange === slow,
  )
  expect(slowLine?.entries.map(({ index }) => index)).toEqual([1, 401])
  await ledger.close()
})

test('one call opens a bounded number of entries, and the cursor goes on', async () => {
  const limits = { readOpenedMax: 64 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  // The intent of an exchange that ended is not a line: 300 of them, and then their endings.
  const exchanges = Array.from({ length: 300 }, () => newExchange())
  for (const kind of ['intent', 'outcome'] as const) {
    await Promise.all(exchanges.map((exchange) => ledger.append(draft(kind, exchange))))
  }
  const page = await ledger.list({ countMax: 1_000, before: 301 })
  expect(page.lines).toEqual([])
  // The last part of 32 is opened as a whole.
  expect(page.older).toBe(224)
  await ledger.close()
})
