import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import {
  blockingFiles,
  cachedFiles,
  type DurableFile,
  type FileLayer,
  readWhole,
  systemFiles,
} from './durable-file.ts'
import { UnusableFile } from './named-path.ts'

const made: string[] = []

afterAll(async () => {
  for (const directory of made) await rm(directory, { recursive: true })
})

const layers: readonly (readonly [string, () => Promise<{ files: FileLayer; root: string }>])[] = [
  ['the system', () => onTheSystem(systemFiles)],
  ['the system without a thread pool', () => onTheSystem(blockingFiles)],
  [
    'the lossy disk',
    async () => {
      const files = new LossyDisk()
      await files.makeDirectory('/root')
      return { files, root: '/root' }
    },
  ],
]

async function onTheSystem(files: FileLayer) {
  const root = await mkdtemp(join(tmpdir(), 'countersign-files-'))
  made.push(root)
  return { files, root }
}

for (const [name, open] of layers) {
  describe(`files on ${name}`, () => {
    test('bytes are read where they were written, and no further than the end', async () => {
      const { files, root } = await open()
      const file = await files.open(`${root}/a`, 'create')
      await file.write(3, Buffer.from('hello'))
      await file.write(0, Buffer.from('abc'))
      await file.sync()
      expect(await file.size()).toBe(8)
      expect(Buffer.from(await file.read(2, 100)).toString()).toBe('chello')
      await file.close()
      const again = await files.open(`${root}/a`, 'create')
      expect(await again.size()).toBe(0)
      await again.close()
    })

    test('a missing file is null, an empty list, or nothing to remove', async () => {
      const { files, root } = await open()
      expect(await files.open(`${root}/none`, 'read')).toBeNull()
      expect(await files.open(`${root}/none`, 'update')).toBeNull()
      expect(await files.list(`${root}/none`)).toEqual([])
      await files.remove(`${root}/none`)
      await expect(files.rename(`${root}/none`, `${root}/other`)).rejects.toThrow('ENOENT')
      await expect(files.makeDirectory(`${root}/none/below`)).rejects.toThrow('ENOENT')
    })

    test('directories are made once, listed, and removed only when empty', async () => {
      const { files, root } = await open()
      expect(await files.makeDirectory(`${root}/d`)).toBe(true)
      expect(await files.makeDirectory(`${root}/d`)).toBe(false)
      await (await files.open(`${root}/d/one`, 'create')).close()
      await (await files.open(`${root}/d/two`, 'create')).close()
      await files.rename(`${root}/d/one`, `${root}/d/two`)
      await files.syncDirectory(`${root}/d`)
      expect(await files.list(`${root}/d`)).toEqual(['two'])
      await expect(files.remove(`${root}/d`)).rejects.toThrow('ENOTEMPTY')
      await files.remove(`${root}/d/two`)
      await files.remove(`${root}/d`)
      expect(await files.list(root)).not.toContain('d')
      expect(await files.freeBytes(root)).toBeGreaterThan(0)
    })
  })
}

test('what is not a file is neither waited for nor followed, and stays as it is', async () => {
  const root = await mkdtemp(join(tmpdir(), 'countersign-files-'))
  made.push(root)
  const at = (name: string) => join(root, name)
  await writeFile(at('precious'), 'of another user')
  await symlink(at('precious'), at('link'))
  await symlink(at('nowhere'), at('dangling'))
  await mkdir(at('folder'))
  execFileSync('mkfifo', [at('pipe')])
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve))
  const paths = [...['link', 'dangling', 'folder', 'pipe', 'socket'].map(at), '/dev/zero']
  for (const files of [systemFiles, cachedFiles, blockingFiles]) {
    for (const path of paths) {
      // A blocked open would end with its other end alone.
      for (const open of [
        () => files.open(path, 'create'),
        () => files.open(path, 'read'),
        () => files.open(path, 'update'),
      ]) {
        await expect(open(), path).rejects.toThrow(UnusableFile)
      }
    }
    await expect(files.syncDirectory(at('pipe'))).rejects.toThrow('ENOTDIR')
  }
  server.close()
  expect(await readFile(at('precious'), 'utf8')).toBe('of another user')
  expect(await systemFiles.open(at('nowhere'), 'read')).toBeNull()
})

test('a file that is longer than any of its kind is not read', async () => {
  const root = await mkdtemp(join(tmpdir(), 'countersign-files-'))
  made.push(root)
  const path = join(root, 'sparse')
  await writeFile(path, '')
  await truncate(path, 2 ** 40)
  const file = (await systemFiles.open(path, 'read')) as DurableFile
  await expect(readWhole(file, path, 1_024)).rejects.toThrow(`${path} is longer than 1024 bytes`)
  await file.close()
})
