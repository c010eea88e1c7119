import { parseReceipt } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger, trustOf } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { verifyReceipt } from '../../../protocol/src/index.ts'
import type { EntryReader } from './entry-reader.ts'
import { readExchange } from './receipts.ts'

const limits = { publishDelayMs: 3_600_000, publishPauseMs: 3_600_000 }

const refusalOf = (exchange: string) => ({
  ...{ kind: 'refusal' as const, exchange, at: Date.now() },
  facts: {
    ...{ code: 'NOT_PERMITTED', caller: '', receiver: 'weather', protocol: 'http' },
    ...{ operation: 'GET', transport: 'gateway', 'private.detail': 'of the operator' },
  },
})

async function withReceipts(
  work: (
    find: (exchange: string) => Promise<Uint8Array>,
    ledger: Awaited<ReturnType<typeof openLossyLedger>>,
  ) => Promise<void>,
): Promise<void> {
  const ledger = await openLossyLedger(new LossyDisk(), createLedgerKeys(), { limits })
  const find = async (exchange: string): Promise<Uint8Array> => {
    const receipt = await ledger.findReceipt(exchange)
    if (receipt === null) throw new Error('there is no receipt')
    return receipt
  }
  try {
    await work(find, ledger)
  } finally {
    await ledger.close()
  }
}

test('a receipt commits to the facts of the operator alone, and opens none of them', () =>
  withReceipts(async (find, ledger) => {
    const exchange = newExchange()
    await ledger.append(refusalOf(exchange))
    const receipt = await find(exchange)
    const [entry] = parseReceipt(receipt).entries
    expect(Object.keys(entry?.facts ?? {})).not.toContain('private.detail')
    expect(Buffer.from(receipt).includes('of the operator')).toBe(false)
    const verified = await verifyReceipt(receipt, trustOf(ledger)).catch((error: unknown) => error)
    expect(verified).toMatchObject({ entries: [{ withheld: ['private.detail'] }] })
  }))

test('an index that names an entry of another exchange brings none into a receipt', async () => {
  const [own, other] = [newExchange(), newExchange()]
  const reader = {
    readFew: async (indexes: readonly number[]) =>
      indexes.map((index) => ({ index, leaf: { exchange: index === 1 ? other : own } })),
  } as unknown as EntryReader
  const found = await readExchange(own, [0, 1, 2], reader)
  expect(found.map(({ index }) => index)).toEqual([0, 2])
})
