import { beforeAll, expect, test } from 'vitest'
import {
  type AgedLedger,
  agedKeys,
  copyAged,
  createAged,
  openAged,
} from '../../../../tools/crash/aged-ledger.ts'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { testOrigin } from '../../../../tools/crash/lossy-ledger.ts'
import { FileResourceStore } from '../adapters/file/ledger-resources.ts'
import { CheckpointKey } from '../ledger/checkpoint.ts'
import { copyLog, deriveLog, type LogFolder, nothingKnown } from './log-files.ts'

let base: AgedLedger

beforeAll(async () => {
  base = await createAged()
})

async function folderOn(disk: LossyDisk, root: string): Promise<LogFolder> {
  await disk.makeDirectory(root)
  const resources = new FileResourceStore(disk, root)
  return { resources, sizeOf: async (path) => (await resources.stat(path))?.bytes ?? null }
}

test('a pruned log is copied without what is gone, and leads to its root', async () => {
  const own = await copyAged(base)
  const ledger = await openAged(own)
  const key = new CheckpointKey(testOrigin, agedKeys.logKey)
  const headOf = async () =>
    key.parseSigned(Buffer.from((await ledger.findResource('checkpoint')) ?? []).toString())
  await ledger.flush()
  const from = await folderOn(own.disk, '/ledger/log')
  const to = await folderOn(new LossyDisk(), '/copy')
  const { size, root } = await headOf()
  const whole = { size, minimum: 0 }
  const first = await copyLog(from, to, whole, nothingKnown)
  await deriveLog(to.resources, { ...whole, root, sums: first.sums, from: 0 })
  await ledger.pruning.prune({ exchange: null })
  await expect(copyLog(from, to, whole, nothingKnown)).rejects.toThrow('is missing')
  const later = await headOf()
  const left = { size: later.size, minimum: 512 }
  const fresh = await folderOn(new LossyDisk(), '/fresh')
  for (const [place, known] of [
    [to, { size, sums: first.sums }],
    [fresh, nothingKnown],
  ] as const) {
    const { sums } = await copyLog(from, place, left, known)
    expect(Buffer.from(sums.subarray(0, 64)).equals(Buffer.alloc(64))).toBe(true)
    await deriveLog(place.resources, { ...left, root: later.root, sums, from: 0 })
    const other = Buffer.alloc(32)
    const forged = deriveLog(place.resources, { ...left, root: other, sums, from: 0 })
    await expect(forged).rejects.toThrow('root of the checkpoint')
  }
  expect(await fresh.resources.read('tile/entries/000')).toBeNull()
  expect(await fresh.resources.read('tile/0/000')).not.toBeNull()
  await ledger.close()
})
