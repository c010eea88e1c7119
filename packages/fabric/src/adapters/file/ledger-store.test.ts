import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, expect, test, vi } from 'vitest'
import { ledgerStoreContract } from '../../../../../test/contracts/ledger-store.ts'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { LossyDisk } from '../../../../../tools/crash/lossy-files.ts'
import { recordsOf } from '../../../../../tools/crash/lossy-ledger.ts'
import { crc32c } from '../../lib/crc32c.ts'
import { type DurableFile, type FileLayer, systemFiles } from '../../lib/durable-file.ts'
import { lockFile } from './file-lock.ts'
import { FileHeadStore } from './ledger-heads.ts'
import { openFileLedgerStore } from './ledger-store.ts'
import { FileWriteAheadLog, WalDamage } from './ledger-wal.ts'

const made: string[] = []

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'countersign-ledger-'))
  made.push(directory)
  return directory
}

afterAll(async () => {
  for (const directory of made) await rm(directory, { recursive: true })
})

ledgerStoreContract('files', async () => {
  const directory = `${await temporaryDirectory()}/made/on/first/use`
  return () => openFileLedgerStore({ directory })
})

ledgerStoreContract('files with the head elsewhere', async () => {
  const directory = await temporaryDirectory()
  const headDirectory = await temporaryDirectory()
  return () => openFileLedgerStore({ directory, headDirectory })
})

ledgerStoreContract('files without a thread', async () => {
  const directory = await temporaryDirectory()
  return () => openFileLedgerStore({ directory, files: systemFiles })
})

ledgerStoreContract('a lossy disk', async () => {
  const files = new LossyDisk()
  return () => openFileLedgerStore({ directory: '/ledger', files, lock: files.lock })
})

test('another process cannot take the lock, and a killed one does not keep it', async () => {
  const path = `${await temporaryDirectory()}/lock`
  const script = `
    const { lockFile } = await import(${JSON.stringify(new URL('./file-lock.ts', import.meta.url).href)})
    lockFile(${JSON.stringify(path)})
    process.stdout.write('locked')
    setInterval(() => undefined, 1000)`
  const sources = '--conditions=countersign-source'
  const holder = spawn(process.execPath, [sources, '--input-type=module', '-e', script])
  const ended = once(holder, 'exit')
  const words = await Promise.race([once(holder.stdout, 'data'), ended])
  expect(String(words[0])).toBe('locked')
  expect(() => lockFile(path)).toThrow('another process')
  holder.kill('SIGKILL')
  await ended
  lockFile(path)()
})

test('the second store of one head directory is refused and lets go of its own lock', async () => {
  const [one, two, headDirectory] = [
    await temporaryDirectory(),
    await temporaryDirectory(),
    await temporaryDirectory(),
  ]
  const store = await openFileLedgerStore({ directory: one, headDirectory })
  await expect(openFileLedgerStore({ directory: two, headDirectory })).rejects.toThrow()
  await store.close()
  await (await openFileLedgerStore({ directory: two, headDirectory })).close()
})

test('a failed write of the thread is reported; a write after its end is refused', async () => {
  const directory = await temporaryDirectory()
  const store = await openFileLedgerStore({ directory })
  await store.heads.replace(null, { size: 0, at: 0, checkpoint: '' })
  await rm(`${directory}/wal`, { recursive: true })
  const head = { size: 1, at: 1, checkpoint: 'one' }
  const commit = {
    firstIndex: 0,
    count: 1,
    body: [Buffer.from('one')],
    previousSize: 0,
    head,
    fence: 1,
  }
  await expect(store.commit(commit)).rejects.toThrow('ENOENT')
  expect((await store.heads.load())?.head.size).toBe(0)
  await store.close()
  await expect(store.commit(commit)).rejects.toThrow('closed')
})

async function walOf(records: readonly string[]): Promise<{ disk: LossyDisk; path: string }> {
  const disk = new LossyDisk()
  await disk.makeDirectory('/wal')
  const wal = new FileWriteAheadLog(disk, '/wal')
  for (const [i, record] of records.entries()) await wal.append(i, 1, [Buffer.from(record)])
  await wal.close()
  return { disk, path: '/wal/0000000001' }
}

async function replayed(disk: LossyDisk): Promise<readonly string[]> {
  const found: string[] = []
  await new FileWriteAheadLog(disk, '/wal').replay(({ body }) => {
    found.push(Buffer.from(body).toString())
  })
  return found
}

test('the last record torn at any byte is left out; the records before it are not', async () => {
  const { disk, path } = await walOf(['first', 'second', 'third'])
  const whole = recordsOf(disk.readWhole(path))
  const recordBytes = 20 + 'third'.length
  for (let cut = 1; cut <= recordBytes; cut++) {
    disk.overwrite(path, whole.subarray(0, whole.length - cut))
    expect(await replayed(disk)).toEqual(['first', 'second'])
  }
})

test('a damaged record before a whole one is damage, not a torn tail', async () => {
  const { disk, path } = await walOf(['first', 'second', 'third'])
  const whole = disk.readWhole(path)
  const untouched = 20 + 'first'.length + 20 + 'second'.length
  for (let bit = 0; bit < untouched * 8; bit++) {
    const flipped = Buffer.from(whole)
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    disk.overwrite(path, flipped)
    await expect(replayed(disk), `bit ${bit}`).rejects.toThrow(WalDamage)
  }
})

test('a segment that is followed by another one ends in zeros, or is damaged', async () => {
  const { disk, path } = await walOf(['first'])
  const next = new FileWriteAheadLog(disk, '/wal')
  await next.append(1, 1, [Buffer.from('second')])
  await next.close()
  expect(await replayed(disk)).toEqual(['first', 'second'])
  const whole = disk.readWhole(path)
  for (const at of [recordsOf(whole).length, whole.length - 1]) {
    const spoilt = Buffer.from(whole)
    spoilt[at] = 1
    disk.overwrite(path, spoilt)
    await expect(replayed(disk), `byte ${at}`).rejects.toThrow(WalDamage)
  }
})

test('a head of an earlier format is refused in either copy, and never overwritten', async () => {
  const files = new LossyDisk()
  const open = () => openFileLedgerStore({ directory: '/ledger', files, lock: files.lock })
  const store = await open()
  await store.heads.replace(null, { size: 0, at: 0, checkpoint: 'head 0' })
  await store.close()
  const whole = files.readWhole('/ledger/head')
  for (const start of [0, 4096]) {
    const former = Buffer.from(whole)
    former.write('CSHD', start, 'latin1')
    former.writeUInt32BE(crc32c(former.subarray(start, start + 4092)), start + 4092)
    files.overwrite('/ledger/head', former)
    const again = await open()
    await expect(again.heads.load()).rejects.toThrow('the ledger has format 1')
    await again.close()
    expect(Buffer.from(files.readWhole('/ledger/head'))).toEqual(former)
  }
})

const headOf = (size: number) => ({ size, at: size, checkpoint: `head ${size}` })

function commitOf(size: number) {
  const body = [Buffer.from(`record ${size}`)]
  const previousSize = size - 1
  return { firstIndex: previousSize, count: 1, body, previousSize, head: headOf(size), fence: 1 }
}

test('one readable copy of the head is enough, and the unreadable one is reported', async () => {
  const files = new LossyDisk()
  const open = () => openFileLedgerStore({ directory: '/ledger', files, lock: files.lock })
  const store = await open()
  await store.heads.replace(null, headOf(0))
  for (const size of [1, 2]) {
    await store.commit(commitOf(size))
    await store.heads.sync()
  }
  await store.close()
  const whole = files.readWhole('/ledger/head')
  const sizes = new Set<number>()
  for (const at of [100, 5000]) {
    const torn = Buffer.from(whole)
    torn.fill(0xee, at, at + 50)
    files.overwrite('/ledger/head', torn)
    const again = await open()
    const loaded = await again.heads.load()
    expect(loaded?.intact).toBe(false)
    sizes.add(loaded?.head.size ?? -1)
    await again.close()
  }
  expect(sizes).toEqual(new Set([1, 2]))
})

test('a loss of power leaves the head that was synced last, or a larger one, whatever it tears', async () => {
  const steps = fc.array(fc.constantFrom('commit', 'sync'), { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(steps, fc.infiniteStream(fc.boolean()), async (taken, coins) => {
      const disk = new LossyDisk()
      const open = () =>
        openFileLedgerStore({ directory: '/ledger', files: disk.mount(), lock: disk.lock })
      let store = await open()
      await store.heads.replace(null, headOf(0))
      let size = 0
      let synced = 0
      // Two lives: the second one goes on with what the first loss left.
      for (let life = 0; life < 2; life++) {
        for (const step of taken) {
          if (step === 'commit') await store.commit(commitOf(++size))
          else {
            await store.heads.sync()
            synced = size
          }
        }
        disk.powerLoss(() => coins.next().value)
        store = await open()
        const head = (await store.heads.load())?.head
        expect(head?.size).toBeGreaterThanOrEqual(synced)
        expect(head).toEqual(headOf(head?.size ?? -1))
        size = synced = head?.size ?? 0
      }
    }),
  )
})

test('a head that is written while a sync is under way does not count as synced', async () => {
  const disk = new LossyDisk()
  await disk.makeDirectory('/heads')
  await disk.syncDirectory('')
  const answers: (() => void)[] = []
  const hold = { isDue: false }
  /** A sync covers what was written before it, and its answer may come any time later. */
  const slow = (file: DurableFile): DurableFile => ({
    ...file,
    async sync() {
      await file.sync()
      if (hold.isDue) await new Promise<void>((answer) => answers.push(answer))
    },
  })
  const open = async (path: string, mode: 'create') => slow(await disk.open(path, mode))
  const files: FileLayer = {
    open: open as FileLayer['open'],
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    stat: (path) => disk.stat(path),
    list: (directory) => disk.list(directory),
    makeDirectory: (path) => disk.makeDirectory(path),
    syncDirectory: (path) => disk.syncDirectory(path),
    freeBytes: () => disk.freeBytes(),
  }
  const heads = new FileHeadStore(files, '/heads')
  await heads.replace(null, headOf(0))
  await heads.write(0, headOf(1))
  hold.isDue = true
  const syncing = heads.sync()
  await vi.waitFor(() => expect(answers).toHaveLength(1), deadline)
  const writing = heads.write(1, headOf(2))
  await new Promise(setImmediate)
  for (const answer of answers) answer()
  await Promise.all([syncing, writing])
  await heads.write(2, headOf(3))
  let sector = 0
  // Of every write, every other sector reaches the disk.
  disk.powerLoss(() => sector++ % 2 === 0)
  const loaded = await new FileHeadStore(disk, '/heads').load()
  expect(loaded?.head).toEqual(headOf(1))
})

test('a sync that failed is not taken for done by the next process', async () => {
  const disk = new LossyDisk()
  const open = () =>
    openFileLedgerStore({ directory: '/ledger', files: disk.mount(), lock: disk.lock })
  const store = await open()
  await store.heads.replace(null, headOf(0))
  await store.commit(commitOf(1))
  disk.failNext('sync')
  await expect(store.heads.sync()).rejects.toThrow('EIO')
  disk.restart()
  const again = await open()
  expect((await again.heads.load())?.head).toEqual(headOf(1))
  await again.heads.replace(1, headOf(1))
  disk.powerLoss('synced')
  expect((await (await open()).heads.load())?.head).toEqual(headOf(1))
})

test('a record whose sync failed is kept by the next process, once it has written it anew', async () => {
  const disk = new LossyDisk()
  const open = () =>
    openFileLedgerStore({ directory: '/ledger', files: disk.mount(), lock: disk.lock })
  const store = await open()
  await store.heads.replace(null, headOf(0))
  await store.commit(commitOf(1))
  disk.failNext('sync')
  await expect(store.commit(commitOf(2))).rejects.toThrow('EIO')
  disk.restart()
  const again = await open()
  await again.wal.rewrite()
  disk.powerLoss('synced')
  const found: number[] = []
  await (await open()).wal.replay(({ firstIndex }) => void found.push(firstIndex))
  expect(found).toEqual([0, 1])
})
