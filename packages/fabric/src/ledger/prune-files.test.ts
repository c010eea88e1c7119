import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { FileResourceStore } from '../adapters/file/ledger-resources.ts'
import { systemFiles } from '../lib/durable-file.ts'
import { removePruned } from './prune-files.ts'

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-prune-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}

test.each(['tile', 'tile/entries', 'detail', 'index', 'index/terms', 'pruned'])(
  'files behind a link in the place of %s stay, and it is reported',
  async (link) => {
    const [root, foreign] = [await temporaryFolder(), await temporaryFolder()]
    const folders = ['entries', 'terms']
    for (const folder of ['', ...folders]) {
      await mkdir(join(foreign, folder), { recursive: true })
      for (const name of ['000', '0']) await writeFile(join(foreign, folder, name), '')
    }
    const [parent] = link.split('/')
    if (parent !== undefined && parent !== link) await mkdir(join(root, parent))
    await symlink(foreign, join(root, link))
    const removed = await removePruned({
      resources: new FileResourceStore(systemFiles, root),
      ...{ minimum: 65_536, segmentEntries: 65_536, termSegmentEntries: 65_536, pauseMs: 0 },
      isStopped: () => false,
    })
    expect(removed.files).toBe(0)
    expect(removed.failed).toBeGreaterThan(0)
    expect(removed.faults[0]).toBe(`${link}: it is not a folder`)
    for (const folder of ['', ...folders]) {
      expect(await readdir(join(foreign, folder))).toEqual(expect.arrayContaining(['0', '000']))
    }
  },
)
