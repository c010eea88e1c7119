import { createPublicKey } from 'node:crypto'
import { parseCheckpoint, parseNote, parseUtf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import {
  createLedgerKeys,
  openLossyLedger,
  testOrigin,
} from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { openFileLedgerStore } from '../adapters/file/ledger-store.ts'
import { systemClock } from '../lib/clock.ts'
import { CheckpointVerifier } from './checkpoint.ts'
import { ledgerLimits } from './limits.ts'
import { settleLedger } from './settle-ledger.ts'

const keys = createLedgerKeys()
const key = new CheckpointVerifier(testOrigin, createPublicKey(keys.logKey))
const exchange = newExchange()
const intent = { kind: 'intent', exchange, at: 1_700_000_000_000, facts: { n: 1 } } as const
/** Only the process of a ledger publishes, which ends before it does. */
const lazy = { publishDelayMs: 3_600_000 }

async function settle(disk: LossyDisk) {
  const place = { directory: '/ledger', files: disk.mount(), lock: disk.lock }
  const store = await openFileLedgerStore(place)
  try {
    const settled = await settleLedger({ store, key, clock: systemClock, limits: ledgerLimits })
    const bytes = await store.resources.read('checkpoint')
    return { settled, bytes: bytes ?? new Uint8Array(0) }
  } finally {
    await store.close()
  }
}

test('a log is published after a crash, by its public key alone, and goes on from there', async () => {
  const disk = new LossyDisk()
  const crashed = await openLossyLedger(disk, keys, { limits: lazy })
  const { index } = await crashed.append(intent)
  expect(await crashed.findResource('checkpoint')).toBeNull()
  disk.restart()
  const { settled, bytes } = await settle(disk)
  expect(settled.size).toBe(index + 1)
  const { size, root } = parseCheckpoint(parseNote(parseUtf8(bytes)).text)
  expect(size).toBe(index + 1)
  // Once more, there is nothing to do.
  expect((await settle(disk)).bytes).toEqual(bytes)
  const again = await openLossyLedger(disk, keys)
  // The intent was closed behind it.
  expect((await again.explain(exchange)).map(({ kind }) => kind)).toEqual([
    'intent',
    'indeterminate',
  ])
  expect(root.length).toBe(32)
  await again.close()
})

test('a log that its checkpoint contradicts is not settled', async () => {
  const disk = new LossyDisk()
  const crashed = await openLossyLedger(disk, keys, { limits: lazy })
  await crashed.append(intent)
  disk.restart()
  const others = createLedgerKeys()
  const foreign = new CheckpointVerifier(testOrigin, createPublicKey(others.logKey))
  const place = { directory: '/ledger', files: disk.mount(), lock: disk.lock }
  const store = await openFileLedgerStore(place)
  const options = { store, key: foreign, clock: systemClock, limits: ledgerLimits }
  await expect(settleLedger(options)).rejects.toThrow('checkpoint')
  await store.close()
})
