import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { type DiskWatch, watchDisk } from './disk-watch.ts'

const open: DiskWatch[] = []
afterEach(() => {
  for (const watch of open.splice(0)) watch.close()
})

function watchFolder() {
  const dataDir = mkdtempSync(join(tmpdir(), 'countersign-disk-'))
  mkdirSync(join(dataDir, 'ledger/a'), { recursive: true })
  writeFileSync(join(dataDir, 'ledger/a/lock'), '')
  const gone = vi.fn<() => void>()
  open.push(watchDisk({ dataDir, slot: 'a' }, gone, 5))
  return { dataDir, gone }
}

test('a data folder in which files change is not reported', async () => {
  const { dataDir, gone } = watchFolder()
  writeFileSync(join(dataDir, 'ledger/a/lock'), 'x')
  await new Promise((wait) => setTimeout(wait, 50))
  expect(gone).not.toHaveBeenCalled()
})

test.each([
  ['removed', (dataDir: string) => rmSync(dataDir, { recursive: true })],
  ['emptied', (dataDir: string) => rmSync(join(dataDir, 'ledger'), { recursive: true })],
  [
    'replaced',
    (dataDir: string) => {
      renameSync(dataDir, `${dataDir}.old`)
      mkdirSync(join(dataDir, 'ledger/a'), { recursive: true })
      writeFileSync(join(dataDir, 'ledger/a/lock'), '')
    },
  ],
])('a data folder that was %s is reported', async (_, change) => {
  const { dataDir, gone } = watchFolder()
  change(dataDir)
  await expect.poll(() => gone.mock.calls.length).toBe(1)
})
