import { parseReceipt, parseTlogProof, verifyReceipt } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger, trustOf } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { systemClock } from '../lib/clock.ts'
import type { EntryKind, FactValue, Ledger } from './ledger.ts'
import type { LedgerLimits } from './limits.ts'
import { LedgerUnavailable } from './unavailable.ts'

const keys = createLedgerKeys()

function draft(kind: EntryKind, exchange: string, facts: Record<string, FactValue> = { n: 1 }) {
  return { kind, exchange, at: 1_700_000_000_000, facts }
}

/** The facts that an entry of its kind has to state for a receipt. */
const asked = { transport: 'gateway', protocol: 'http', operation: 'GET', receiver: 'b' }
const intended = {
  ...asked,
  caller: 'spiffe://ledger.test/agent/a',
  'attested.request': 'fabric',
}
const delivered = { result: 'delivered', 'attested.response': 'fabric' }

async function closeExchange(ledger: Ledger, exchange = newExchange()): Promise<string> {
  await ledger.append(draft('intent', exchange, { ...intended, 'private.request': 'secret' }))
  await ledger.append(draft('outcome', exchange, delivered))
  return exchange
}

/** Nothing is published but at the end: everything is answered from memory. */
const lazy: Partial<LedgerLimits> = { publishDelayMs: 3_600_000 }

test('a receipt verifies straight after the outcome, long before tiles, and hides what is private', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits: lazy })
  const exchange = newExchange()
  await ledger.append(draft('intent', exchange, { ...intended, 'private.request': 'secret' }))
  expect(await ledger.findReceipt(exchange)).toBeNull()
  const { index } = await ledger.append(draft('outcome', exchange, delivered))
  const receipt = await ledger.findReceipt(exchange)
  const verified = await verifyReceipt(receipt ?? new Uint8Array(), trustOf(ledger))
  expect(verified.kinds).toEqual(['intent', 'outcome'])
  expect(verified.entries.map((entry) => entry.index)).toEqual([index - 1, index])
  expect(verified.entries[0]?.withheld).toEqual(['private.request'])
  expect(verified.result).toBe('delivered')
  expect(Buffer.from(receipt ?? []).includes('secret')).toBe(false)
  expect(await ledger.findResource('checkpoint')).toBeNull()
  await ledger.close()
})

test('both proofs of a receipt lead to one checkpoint, also where the entries are bundles apart', async () => {
  const disk = new LossyDisk()
  const limits = { segmentEntries: 64, windowBytesMax: 1024 }
  const ledger = await openLossyLedger(disk, keys, { limits })
  const early = newExchange()
  await ledger.append(draft('intent', early, intended))
  await Promise.all(Array.from({ length: 300 }, () => closeExchange(ledger)))
  await ledger.append(draft('outcome', early, delivered))
  await ledger.close()
  const again = await openLossyLedger(disk, keys, { limits })
  const receipt = (await again.findReceipt(early)) ?? new Uint8Array()
  const { entries } = await verifyReceipt(receipt, trustOf(again))
  expect(entries.map(({ index }) => index)).toEqual([1, 602])
  const heads = parseReceipt(receipt).entries.map(({ proof }) => parseTlogProof(proof).checkpoint)
  expect(new Set(heads).size).toBe(1)
  expect((await again.check()).entries).toBe(603)
  await again.close()
})

test('a lone refusal has a receipt, and an unknown exchange has none', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const refused = newExchange()
  await ledger.append(draft('refusal', refused, { ...asked, code: 'NOT_PERMITTED' }))
  const receipt = (await ledger.findReceipt(refused)) ?? new Uint8Array()
  expect((await verifyReceipt(receipt, trustOf(ledger))).result).toBe('NOT_PERMITTED')
  expect(await ledger.findReceipt(newExchange())).toBeNull()
  expect(await ledger.explain(newExchange())).toEqual([])
  await ledger.close()
})

test('entries stand in the order in which they were appended, and are explained with all facts', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const facts = { text: 'ü', count: -5, flag: false, bytes: Uint8Array.of(1, 2) }
  const exchanges = Array.from({ length: 40 }, newExchange)
  const written = await Promise.all(
    exchanges.map((exchange) => ledger.append(draft('intent', exchange, facts))),
  )
  expect(written.map(({ index }) => index)).toEqual(exchanges.map((_, i) => i + 1))
  const [entry] = await ledger.explain(exchanges[7] ?? '')
  expect(entry).toMatchObject({ kind: 'intent', index: 8, facts })
  const { entries, next } = await ledger.read(0, 1_000)
  expect(entries.map(({ index }) => index)).toEqual([...Array(41).keys()])
  expect([entries[0]?.kind, next]).toEqual(['genesis', 41])
  await ledger.close()
})

test('an intent that was left open is closed as indeterminate by the next start, once [record:indeterminate]', async () => {
  const disk = new LossyDisk()
  const first = await openLossyLedger(disk, keys)
  const [open, closed] = [newExchange(), await closeExchange(first)]
  await first.append(draft('intent', open))
  expect((await first.check()).unclosed).toBe(1)
  await first.close()
  for (let start = 0; start < 2; start++) {
    const ledger = await openLossyLedger(disk, keys)
    expect((await ledger.explain(open)).map(({ kind }) => kind)).toEqual([
      'intent',
      'indeterminate',
    ])
    expect((await ledger.explain(closed)).map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
    expect((await ledger.check()).unclosed).toBe(0)
    expect(await ledger.findReceipt(open)).not.toBeNull()
    await ledger.close()
  }
})

test('an exchange has one open intent, and what closes an intent needs one', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const exchange = newExchange()
  const { size } = ledger
  await expect(ledger.append(draft('outcome', exchange))).rejects.toThrow(TypeError)
  await expect(ledger.append(draft('indeterminate', exchange))).rejects.toThrow(TypeError)
  await expect(ledger.append(draft('genesis', exchange))).rejects.toThrow(TypeError)
  const both = [ledger.append(draft('intent', exchange)), ledger.append(draft('intent', exchange))]
  expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
  ])
  expect(ledger.size).toBe(size + 1)
  await ledger.close()
})

test('a draft that cannot be a leaf leaves no gap in the log', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits: { detailBytesMax: 2000 } })
  const tooLarge = { big: 'x'.repeat(3000) }
  await expect(ledger.append(draft('refusal', newExchange(), tooLarge))).rejects.toThrow(RangeError)
  await expect(ledger.append(draft('refusal', newExchange(), { 'Bad Name': 1 }))).rejects.toThrow()
  await expect(ledger.append(draft('refusal', newExchange(), {}))).rejects.toThrow(RangeError)
  await expect(ledger.append(draft('refusal', 'not an id'))).rejects.toThrow(TypeError)
  await closeExchange(ledger)
  expect((await ledger.check()).entries).toBe(3)
  await ledger.close()
})

test('published resources follow the checkpoint, and older partial tiles stay available [record:outside-tools]', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits: { publishEntries: 1 } })
  await Promise.all(Array.from({ length: 20 }, () => closeExchange(ledger)))
  await ledger.check()
  const partial = await ledger.findResource('tile/0/000.p/41')
  expect(partial).toHaveLength(41 * 32)
  await Promise.all(Array.from({ length: 130 }, () => closeExchange(ledger)))
  await ledger.check()
  expect(await ledger.findResource('tile/0/000')).toHaveLength(8192)
  expect(Buffer.from((await ledger.findResource('tile/0/000.p/41')) ?? [])).toEqual(partial)
  expect(await ledger.findResource('tile/entries/000.p/41')).not.toBeNull()
  for (const path of ['detail/000', 'index/0', '../head', 'tile/0/000/', 'wal/0000000001']) {
    expect(await ledger.findResource(path), path).toBeNull()
  }
  await ledger.close()
})

test('a failed sync stops the ledger for good, and is reported once', async () => {
  const disk = new LossyDisk()
  let fatal = 0
  const ledger = await openLossyLedger(disk, keys, { onFatal: () => fatal++, limits: lazy })
  const exchange = await closeExchange(ledger)
  disk.failNext('sync')
  const lost = [
    ledger.append(draft('refusal', newExchange())),
    ledger.append(draft('refusal', newExchange())),
  ]
  expect((await Promise.allSettled(lost)).map(({ status }) => status)).toEqual([
    'rejected',
    'rejected',
  ])
  await expect(ledger.append(draft('refusal', newExchange()))).rejects.toThrow(LedgerUnavailable)
  await expect(ledger.findReceipt(exchange)).rejects.toThrow(LedgerUnavailable)
  await expect(ledger.check()).rejects.toThrow(LedgerUnavailable)
  await expect(ledger.findResource('checkpoint')).rejects.toThrow(LedgerUnavailable)
  expect(fatal).toBe(1)
  await ledger.close()
  disk.powerLoss('synced')
  const again = await openLossyLedger(disk, keys)
  expect(await again.findReceipt(exchange)).not.toBeNull()
  await again.close()
})

test('a failure while tiles are written is as fatal as one in the log', async () => {
  const disk = new LossyDisk()
  let fatal = 0
  const limits = { publishEntries: 1 }
  const ledger = await openLossyLedger(disk, keys, { onFatal: () => fatal++, limits })
  disk.failNext('rename')
  await Promise.allSettled([closeExchange(ledger)])
  await expect(ledger.check()).rejects.toThrow(LedgerUnavailable)
  expect(fatal).toBe(1)
  await ledger.close()
})

test('a nearly full disk refuses entries before a write fails, and accepts again with room', async () => {
  const disk = new LossyDisk()
  let now = 0
  const clock = { now: () => systemClock.now(), monotonic: () => now }
  const ledger = await openLossyLedger(disk, keys, { clock })
  disk.free = 1000
  now += 2000
  await expect(ledger.append(draft('refusal', newExchange()))).rejects.toThrow('nearly full')
  disk.free = Number.MAX_SAFE_INTEGER
  now += 2000
  await ledger.append(draft('refusal', newExchange()))
  await ledger.close()
})

test('a flood waits or is refused, and what was acknowledged is all there', async () => {
  const disk = new LossyDisk()
  const limits = {
    queueEntriesMax: 50,
    waitingEntriesMax: 50,
    unpublishedBytesMax: 20_000,
    groupEntriesMax: 7,
  }
  const ledger = await openLossyLedger(disk, keys, { limits })
  const flood = Array.from({ length: 300 }, () => ledger.append(draft('refusal', newExchange())))
  const results = await Promise.allSettled(flood)
  const acknowledged = results.filter(({ status }) => status === 'fulfilled').length
  expect(acknowledged).toBeGreaterThan(0)
  expect(acknowledged).toBeLessThan(300)
  expect((await ledger.check()).entries).toBe(1 + acknowledged)
  await ledger.close()
})

test('a second ledger on the same directory is refused while the first is open', async () => {
  const disk = new LossyDisk()
  const ledger = await openLossyLedger(disk, keys)
  await expect(openLossyLedger(disk, keys)).rejects.toThrow('locked')
  await ledger.close()
  await (await openLossyLedger(disk, keys)).close()
})

test('a clock far behind the last head is refused at start', async () => {
  const disk = new LossyDisk()
  await (await openLossyLedger(disk, keys)).close()
  const behind = (ms: number) => ({ ...systemClock, now: () => Date.now() - ms })
  await expect(openLossyLedger(disk, keys, { clock: behind(3_600_000) })).rejects.toThrow('clock')
  await (await openLossyLedger(disk, keys, { clock: behind(1000) })).close()
})

test('entries are refused while the ledger closes, and everything is refused after', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  const written = closeExchange(ledger)
  await written
  const closing = ledger.close()
  await expect(ledger.append(draft('refusal', newExchange()))).rejects.toThrow(LedgerUnavailable)
  await closing
  await ledger.close()
  await expect(ledger.read(0, 1)).rejects.toThrow(LedgerUnavailable)
})

test('a check while entries are written finds nothing, whatever is published under its eyes', async () => {
  const limits = { publishEntries: 1, segmentEntries: 16, groupEntriesMax: 5 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const writing = Array.from({ length: 8 }, async () => {
    for (let i = 0; i < 25; i++) await closeExchange(ledger)
  })
  let checks = 0
  const checking = (async () => {
    for (; checks < 12; checks++) await ledger.check()
  })()
  await Promise.all([checking, ...writing])
  expect((await ledger.check()).unclosed).toBe(0)
  await ledger.close()
})
