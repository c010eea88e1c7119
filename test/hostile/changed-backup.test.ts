import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseBackup } from '../../packages/fabric/src/backup/backup-document.ts'
import { copyFile } from '../../packages/fabric/src/backup/plain-files.ts'
import { openSmallFolder, restoreInto, type SmallFolder } from '../harness/small-backup.ts'
import { verifies } from '../requirements.ts'

let small: SmallFolder

beforeAll(async () => {
  small = await openSmallFolder()
})
afterAll(() => small.remove())

const place = (name: string) => join(small.home, name)

/** The folder of one backup, in which each test may change what it likes. */
async function backedUp(name: string): Promise<string> {
  await small.backUp(place(name))
  return place(name)
}

const documentOf = (folder: string) =>
  parseBackup(readFileSync(join(folder, 'backup.json'), 'utf8'))

test(verifies(['record:sound-backup'], 'an exchanged checkpoint hides no loss'), async () => {
  const older = await backedUp('older')
  await small.record(2)
  const newest = readFileSync(join(small.slot, 'log', 'checkpoint'))
  const own = join(older, 'log', documentOf(older).id, 'ledger', 'a', 'log', 'checkpoint')
  copyFileSync(own, place('own-checkpoint'))
  // The guard compares this one with the newest; the other one would be restored.
  writeFileSync(own, newest)
  const onStep = (step: string) => {
    if (step.startsWith('Copying')) copyFileSync(place('own-checkpoint'), own)
  }
  const shown = { newest: new Uint8Array(newest), onStep }
  await expect(restoreInto(place('exchanged'), older, shown)).rejects.toThrow('backed up')
  expect(existsSync(place('exchanged'))).toBe(false)
})

test(verifies(['record:sound-backup'], 'special and longer files are not copied'), async () => {
  const folder = await backedUp('special')
  const { id, logs } = documentOf(folder)
  const makers: Readonly<Record<string, (path: string) => void>> = {
    'a named pipe': (path) => execFileSync('mkfifo', [path]),
    'a link': (path) => symlinkSync('/dev/zero', path),
    'a folder': (path) => mkdirSync(path),
    'a sparse file': (path) => {
      writeFileSync(path, '')
      truncateSync(path, 2 ** 40)
    },
  }
  const files = [
    ...['backup.json', `log/${id}/trust.json`, `log/${id}/state.db`, `log/${id}/sums/a`],
    ...[`log/${id}/ledger/a/subjects`, `log/${id}/ledger/a/log/checkpoint`],
    ...[`keys/${id}/secrets/one`, `log/ledger/a/tile/0/000.p/${logs[0]?.size}`],
  ]
  for (const [kind, make] of Object.entries(makers)) {
    for (const file of files) {
      const path = join(folder, file)
      expect(existsSync(path), file).toBe(true)
      renameSync(path, place('kept-file'))
      make(path)
      await expect(restoreInto(place('of-special'), folder), `${kind}: ${file}`).rejects.toThrow()
      rmSync(path, { recursive: true })
      renameSync(place('kept-file'), path)
    }
  }
  expect(existsSync(place('of-special'))).toBe(false)
  await restoreInto(place('of-special'), folder)
})

test('a copy of a listed file ends behind its length', async () => {
  writeFileSync(place('long'), new Uint8Array(5_000_000))
  const found = await copyFile(place('long'), place('copied'), 10)
  expect(found?.bytes).toBe(11)
  expect(readFileSync(place('copied'))).toHaveLength(11)
})

test('a restore empties no folder of another', async () => {
  const folder = await backedUp('sound')
  const precious = place('precious')
  mkdirSync(precious)
  writeFileSync(join(precious, 'thesis'), 'years of work')
  const staging = place('emptied.restoring')
  symlinkSync(precious, staging)
  await expect(restoreInto(place('emptied'), folder)).rejects.toThrow('is a link')
  rmSync(staging)
  renameSync(precious, staging)
  await expect(restoreInto(place('emptied'), folder)).rejects.toThrow('is not of a restore')
  expect(readFileSync(join(staging, 'thesis'), 'utf8')).toBe('years of work')
  rmSync(join(staging, 'thesis'))
  chmodSync(staging, 0o777)
  await expect(restoreInto(place('emptied'), folder)).rejects.toThrow('another user can write')
  chmodSync(staging, 0o700)
  // Of a restore that was killed.
  writeFileSync(join(staging, 'trust.json'), '{}')
  await restoreInto(place('emptied'), folder)
  expect(readdirSync(place('emptied'))).not.toContain('restore.lock')
})

test('a backup follows no link out of its folder', async () => {
  const folder = await backedUp('linked')
  const precious = place('elsewhere')
  mkdirSync(precious)
  writeFileSync(join(precious, 'thesis'), 'years of work')
  for (const part of ['keys', 'log/ledger', 'log']) {
    rmSync(join(folder, part), { recursive: true })
    symlinkSync(precious, join(folder, part))
    await expect(small.backUp(folder), part).rejects.toThrow('a link to one')
    rmSync(join(folder, part))
    mkdirSync(join(folder, part))
  }
  expect(readdirSync(precious)).toEqual(['thesis'])
})

test('a key that is a link makes a backup fail, and is not left out', async () => {
  renameSync(join(small.data, 'secrets', 'one'), place('the-key'))
  symlinkSync(place('the-key'), join(small.data, 'secrets', 'one'))
  try {
    await expect(small.backUp(place('incomplete'))).rejects.toThrow('is a link')
    expect(readdirSync(place('incomplete'))).not.toContain('backup.json')
  } finally {
    rmSync(join(small.data, 'secrets', 'one'))
    renameSync(place('the-key'), join(small.data, 'secrets', 'one'))
  }
  await small.backUp(place('incomplete'))
})
