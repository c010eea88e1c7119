import { execFileSync } from 'node:child_process'
import { readdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findLogSource } from '../../packages/fabric/src/cli/log-source.ts'
import { openSmallFolder, type SmallFolder } from '../harness/small-backup.ts'
import { verifies } from '../requirements.ts'

let small: SmallFolder

beforeAll(async () => {
  small = await openSmallFolder()
})
afterAll(() => small.remove())

const makers: Readonly<Record<string, (path: string) => void>> = {
  'a named pipe': (path) => execFileSync('mkfifo', [path]),
  'a link to a device without end': (path) => symlinkSync('/dev/zero', path),
  'a sparse file': (path) => {
    writeFileSync(path, '')
    truncateSync(path, 2 ** 40)
  },
}

const sentence = verifies(['record:sound-backup'], 'a log with %s in it is refused at once')

test.each(Object.entries(makers))(sentence, async (kind, make) => {
  for (const file of ['head', 'subjects', 'log/checkpoint', 'log/tile/0/000.p/4']) {
    const path = join(small.slot, file)
    renameSync(path, `${small.home}/kept`)
    make(path)
    const opened = small.record(0).finally(() => {
      rmSync(path)
      renameSync(`${small.home}/kept`, path)
    })
    await expect(opened, file).rejects.toThrow()
  }
  const segment = join(small.slot, 'wal', '0000000009')
  make(segment)
  const opened = small.record(0).finally(() => rmSync(segment))
  await expect(opened, `${kind} in the write-ahead log`).rejects.toThrow()
  await small.record(0)
})

test('a reader of tiles in a folder does not wait for a named pipe', async () => {
  const log = join(small.slot, 'log')
  const checkpoint = join(log, 'checkpoint')
  renameSync(checkpoint, `${small.home}/kept`)
  execFileSync('mkfifo', [checkpoint])
  expect(await findLogSource(log, () => null)?.readCheckpoint()).toEqual(new Uint8Array(0))
  rmSync(checkpoint)
  renameSync(`${small.home}/kept`, checkpoint)
  expect(readdirSync(log)).toContain('checkpoint')
})
