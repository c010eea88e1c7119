import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { type DiskWatch, watchDisk } from './disk-watch.ts'

const open: DiskWatch[] = []
afterEach(() => {
  for (const watch of open.splice(0)) watch.close()
})

async function watchFolder(warnBytes: number) {
  const dataDir = mkdtempSync(join(tmpdir(), 'countersign-disk-'))
  mkdirSync(join(dataDir, 'ledger'))
  writeFileSync(join(dataDir, 'ledger/lock'), '')
  const told = { low: vi.fn<() => void>(), enough: vi.fn<() => void>(), gone: vi.fn<() => void>() }
  const watch = await watchDisk({
    dataDir,
    warnBytes,
    everyMs: 5,
    onLow: told.low,
    onEnough: told.enough,
    onGone: told.gone,
  })
  open.push(watch)
  return { dataDir, told, watch }
}

test('too little space is reported once, from the first look on', async () => {
  const { told, watch } = await watchFolder(Number.MAX_SAFE_INTEGER)
  expect(watch.freeBytes).toBeGreaterThan(0)
  expect(told.low).toHaveBeenCalledOnce()
})

test('enough space is not reported', async () => {
  const { told } = await watchFolder(1)
  expect(told.low).not.toHaveBeenCalled()
  expect(told.enough).not.toHaveBeenCalled()
})

test.each([
  ['removed', (dataDir: string) => rmSync(dataDir, { recursive: true })],
  ['emptied', (dataDir: string) => rmSync(join(dataDir, 'ledger'), { recursive: true })],
  [
    'replaced',
    (dataDir: string) => {
      renameSync(dataDir, `${dataDir}.old`)
      mkdirSync(join(dataDir, 'ledger'), { recursive: true })
      writeFileSync(join(dataDir, 'ledger/lock'), '')
    },
  ],
])('a data folder that was %s is reported', async (_, change) => {
  const { dataDir, told } = await watchFolder(1)
  change(dataDir)
  await vi.waitFor(() => expect(told.gone).toHaveBeenCalledOnce(), 10_000)
})
