import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import type { LineQuery } from '../../packages/fabric/src/ledger/ledger-reads.ts'
import { LossyDisk } from '../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../tools/crash/lossy-matrix.ts'
import { verifies } from '../requirements.ts'

const refusal = () => ({
  ...{ kind: 'refusal' as const, exchange: newExchange(), at: 1_700_000_000_000 },
  facts: { caller: 'a', receiver: 'x', tool: 'pay', code: 'NOT_PERMITTED' },
})

/** A log whose index is in files, in memory, and in part of an earlier start. */
async function openFilled(): Promise<Ledger> {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const limits = { termSegmentEntries: 64, readSegmentsMax: 32 }
  const first = await openLossyLedger(disk, keys, { limits })
  await Promise.all(Array.from({ length: 350 }, () => first.append(refusal())))
  await first.close()
  const ledger = await openLossyLedger(disk, keys, { limits })
  await Promise.all(Array.from({ length: 50 }, () => ledger.append(refusal())))
  return ledger
}

const searches: Readonly<Record<string, Omit<LineQuery, 'countMax'>>> = {
  'for everything': {},
  'for what all exchanges have': { terms: [{ table: 'caller', values: ['a'] }] },
  'for all of it at some time': { since: 1, until: 2_000_000_000_000 },
  'for what no exchange has at once': {
    terms: [
      ...([{ table: 'caller', values: ['a'] }] as const),
      ...([{ table: 'receiver', values: ['x'] }] as const),
      ...([{ table: 'tool', values: ['pay'] }] as const),
      ...([{ table: 'result', values: ['delivered'] }] as const),
    ],
  },
}

let ledger: Ledger

beforeAll(async () => {
  ledger = await openFilled()
})
afterAll(() => ledger.close())

test.each(Object.entries(searches))(
  verifies(
    ['operate:read-turns'],
    'a permitted reader with searches %s holds up no entry and no other reader',
  ),
  async (_, query) => {
    const ended: string[] = []
    const mark = (name: string) => () => ended.push(name)
    const flood = Array.from({ length: 32 }, (_, n) =>
      ledger.list({ countMax: 120, ...query, owner: 'flooder' }).then(mark(`search ${n}`)),
    )
    await expect(ledger.list({ countMax: 1, owner: 'flooder' })).rejects.toMatchObject({
      limit: { name: 'ledger.readsPerReader' },
    })
    const others = [
      ledger.append(refusal()).then(mark('entry')),
      ledger.list({ countMax: 1, owner: 'other' }).then(mark('other')),
    ]
    await Promise.all([...flood, ...others])
    const last = ended.findLastIndex((name) => name.startsWith('search'))
    expect(ended.indexOf('entry')).toBeLessThan(last)
    expect(ended.indexOf('other')).toBeLessThan(last)
  },
)
