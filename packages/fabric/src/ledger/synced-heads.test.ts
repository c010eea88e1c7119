import { parseCheckpoint, parseNote, parseReceipt, parseTlogProof } from '@countersign/protocol'
import { describe, expect, test, vi } from 'vitest'
import { deadline } from '../../../../test/harness/deadline.ts'
import { heldLease } from '../../../../tools/crash/held-lease.ts'
import {
  forgetHandedOut,
  goOn,
  handOutAndLosePower,
  isRefusedAsDamage,
} from '../../../../tools/crash/lossy-damage.ts'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import type { Ledger } from './ledger.ts'
import type { HeadStore, StoredHead } from './store.ts'
import { SyncedHeads } from './synced-heads.ts'
import { LedgerUnavailable } from './unavailable.ts'

const keys = createLedgerKeys()
/** No head is synced except for those who ask for one. */
const lazy = { publishDelayMs: 3_600_000, headSyncMs: 3_600_000 }

async function refuse(ledger: Ledger): Promise<string> {
  const exchange = newExchange()
  await ledger.append({ kind: 'refusal', exchange, at: Date.now(), facts: { code: 'A' } })
  return exchange
}

async function receiptSize(ledger: Ledger, exchange: string): Promise<number> {
  const [entry] = parseReceipt((await ledger.findReceipt(exchange)) ?? new Uint8Array()).entries
  const { checkpoint } = parseTlogProof(entry?.proof ?? '')
  return parseCheckpoint(parseNote(checkpoint).text).size
}

describe('the syncs of a commit', () => {
  test('are one, of the record, before the head is written', async () => {
    const disk = new LossyDisk()
    const ledger = await openLossyLedger(disk, keys, { limits: lazy })
    for (let i = 0; i < 3; i++) {
      disk.log.length = 0
      await refuse(ledger)
      expect(disk.log).toEqual(['write', 'sync', 'write'])
    }
    await ledger.close()
  })

  test('are followed by one for all receipts that are asked for at once, and none for later ones', async () => {
    const disk = new LossyDisk()
    const ledger = await openLossyLedger(disk, keys, { limits: lazy })
    const exchanges = await Promise.all(Array.from({ length: 40 }, () => refuse(ledger)))
    const syncs = () => disk.log.filter((operation) => operation === 'sync').length
    const before = syncs()
    const sizes = await Promise.all(exchanges.map((exchange) => receiptSize(ledger, exchange)))
    expect(new Set(sizes)).toEqual(new Set([ledger.size]))
    expect(syncs()).toBe(before + 1)
    const later = await refuse(ledger)
    const covered = syncs()
    expect(await receiptSize(ledger, exchanges[0] ?? '')).toBe(ledger.size - 1)
    expect(syncs()).toBe(covered)
    expect(await receiptSize(ledger, later)).toBe(ledger.size)
    expect(syncs()).toBe(covered + 1)
    await ledger.close()
  })

  test('are followed by that of the head when no one asks, within its limit', async () => {
    const disk = new LossyDisk()
    const limits = { ...lazy, headSyncMs: 10 }
    const ledger = await openLossyLedger(disk, keys, { limits })
    await refuse(ledger)
    disk.log.length = 0
    await vi.waitFor(() => expect(disk.log).toEqual(['sync']), deadline)
    await ledger.close()
  })
})

describe('a checkpoint that is handed out', () => {
  test('waits for its sync, and never leaves when that fails', async () => {
    const disk = new LossyDisk()
    const onFatal = vi.fn<(cause: unknown) => void>()
    const ledger = await openLossyLedger(disk, keys, { limits: lazy, onFatal })
    const exchange = await refuse(ledger)
    disk.failNext('sync')
    const asked = [ledger.findReceipt(exchange), ledger.findReceipt(exchange)]
    for (const each of asked) await expect(each).rejects.toThrow(LedgerUnavailable)
    expect(onFatal).toHaveBeenCalledOnce()
    await expect(ledger.findReceipt(exchange)).rejects.toThrow(LedgerUnavailable)
    await ledger.close()
    disk.powerLoss('synced')
    const again = await openLossyLedger(disk, keys)
    expect(await again.explain(exchange)).toHaveLength(1)
    await again.close()
  })

  test('is durable although the sync of its head had failed before, in a former process', async () => {
    const disk = new LossyDisk()
    const ledger = await openLossyLedger(disk, keys, { limits: lazy })
    const exchange = await refuse(ledger)
    disk.failNext('sync')
    await expect(ledger.findReceipt(exchange)).rejects.toThrow(LedgerUnavailable)
    // The system still shows the head, and a sync of the same file writes nothing.
    disk.restart()
    const again = await openLossyLedger(disk, keys, { limits: lazy })
    expect(await receiptSize(again, exchange)).toBe(2)
    expect(await again.findResource('checkpoint')).not.toBeNull()
    disk.powerLoss('synced')
    const third = await openLossyLedger(disk, keys, { limits: lazy })
    expect(await receiptSize(third, exchange)).toBe(2)
    await third.close()
  })

  test('by publication, is that of a synced head', async () => {
    const disk = new LossyDisk()
    let synced = 0
    const heads = (store: HeadStore): HeadStore => ({
      load: () => store.load(),
      replace: (previousSize, next) => store.replace(previousSize, next),
      async sync() {
        await store.sync()
        // A copy after a power loss has what is durable.
        synced = (await store.load())?.head.size ?? 0
      },
    })
    const ledger = await openLossyLedger(disk, keys, {
      ...{ heads, limits: { ...lazy, publishDelayMs: 0 } },
    })
    for (let i = 0; i < 5; i++) {
      await refuse(ledger)
      await ledger.check()
      const published = Buffer.from((await ledger.findResource('checkpoint')) ?? []).toString()
      const { size } = parseCheckpoint(parseNote(published).text)
      expect(size).toBe(ledger.size)
      expect(size).toBeLessThanOrEqual(synced)
    }
    await ledger.close()
  })
})

describe('the last record, damaged after a loss of power', () => {
  test('is refused as damage at any byte, where a checkpoint that covers it was handed out', async () => {
    const lost = await handOutAndLosePower({ before: 2, beyond: 0 })
    for (let at = 0; at < lost.recordBytes; at += 7) {
      lost.flip(at, 1 << (at % 8))
      const found = await goOn(lost).catch((cause: unknown) => cause)
      expect(isRefusedAsDamage(found), `byte ${at}: ${String(found)}`).toBe(true)
      lost.flip(at, 1 << (at % 8))
    }
    expect(await goOn(lost)).toBe(lost.size)
  })

  test('is cut off where no checkpoint covers it, and what comes before is kept', async () => {
    for (const beyond of [1, 3]) {
      const { recordBytes } = await handOutAndLosePower({ before: 2, beyond })
      for (let at = 0; at < recordBytes; at += 97) {
        const lost = await handOutAndLosePower({ before: 2, beyond })
        lost.flip(Math.min(at, lost.recordBytes - 1), 1 << (at % 8))
        expect(await goOn(lost), `byte ${at}`).toBe(lost.size - 1)
      }
    }
  })

  test('is missed without the sync before the hand-out, and a second head of its size is signed', async () => {
    expect(await forgetHandedOut()).toBe(true)
  })
})

describe('heads', () => {
  const head = (size: number): StoredHead => ({ size, at: size, checkpoint: `head ${size}` })

  /** A store whose syncs end when the test lets them. */
  function openHeads() {
    const syncs: PromiseWithResolvers<void>[] = []
    const sync = () => {
      const next = Promise.withResolvers<void>()
      syncs.push(next)
      return next.promise
    }
    const store: HeadStore = { load: vi.fn(), replace: vi.fn(), sync }
    const fatal = vi.fn<(cause: unknown) => void>()
    const heads = new SyncedHeads({
      ...{ store, lease: heldLease, limits: lazy, fatal },
      ...{ head: head(1), published: head(1) },
    })
    return { heads, syncs, fatal }
  }

  test('a head that was written while a sync was under way waits for the next one', async () => {
    const { heads, syncs } = openHeads()
    heads.wrote(head(2))
    const two = heads.release(2)
    heads.wrote(head(3))
    const three = heads.release(3)
    expect(syncs).toHaveLength(1)
    syncs[0]?.resolve()
    expect(await two).toMatchObject(head(2))
    await vi.waitFor(() => expect(syncs).toHaveLength(2), deadline)
    syncs[1]?.resolve()
    expect(await three).toMatchObject(head(3))
  })

  test('a size that is not committed is not released', async () => {
    const { heads, syncs } = openHeads()
    await expect(heads.release(2)).rejects.toThrow(RangeError)
    expect(await heads.release(1)).toMatchObject(head(1))
    expect(syncs).toHaveLength(0)
  })

  test('a sync that failed is not tried again', async () => {
    const { heads, syncs, fatal } = openHeads()
    heads.wrote(head(2))
    const asked = heads.release(2)
    syncs[0]?.reject(new Error('EIO'))
    await expect(asked).rejects.toThrow('EIO')
    await expect(heads.release(2)).rejects.toThrow('EIO')
    expect(syncs).toHaveLength(1)
    expect(fatal).toHaveBeenCalledOnce()
  })
})
