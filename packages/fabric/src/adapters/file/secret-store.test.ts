import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { secretStoreContract } from '../../../../../test/contracts/secret-store.ts'
import { LossyDisk, type Survival } from '../../../../../tools/crash/lossy-files.ts'
import type { Random } from '../../lib/random.ts'
import type { SecretStore } from '../../secrets/secret-store.ts'
import { lockWhenFree } from './file-lock.ts'
import { openFileSecretStore } from './secret-store.ts'

const dir = '/secrets'
const keyA = new Uint8Array(32).fill(0xa1)
const keyB = new Uint8Array(32).fill(0xb2)
const secrets: Readonly<Record<string, Uint8Array>> = {
  'ca/intermediate': new TextEncoder().encode('the private key of the intermediate'),
  'ledger/log': new Uint8Array(64).fill(3),
  'redaction/mask': new Uint8Array(0),
}

/** Different every time, the same in every run. */
function createRandom(): Random {
  let counter = 0
  return (count) => {
    const bytes = new Uint8Array(count)
    for (let at = 0; at < count; at += 32) {
      const block = createHash('sha256').update(String(counter++)).digest()
      bytes.set(block.subarray(0, Math.min(32, count - at)), at)
    }
    return bytes
  }
}

const random = createRandom()
const open = (files: LossyDisk, masterKey = keyA): Promise<SecretStore> =>
  openFileSecretStore({ dir, masterKey, random, files })

async function createFilled(): Promise<LossyDisk> {
  const disk = new LossyDisk()
  const store = await open(disk)
  for (const [name, value] of Object.entries(secrets)) await store.put(name, value)
  return disk
}

async function readAll(store: SecretStore): Promise<Record<string, Uint8Array | null>> {
  const found: Record<string, Uint8Array | null> = {}
  for (const name of await store.list()) found[name] = await store.find(name)
  return found
}

const fileOf = (name: string): string => `${dir}/${name.replaceAll('/', '+')}.secret`

const folder = mkdtempSync(join(tmpdir(), 'countersign-secrets-'))
afterAll(() => rmSync(folder, { recursive: true }))
let folders = 0

secretStoreContract('files', async () => {
  const at = join(folder, String(folders++))
  const lock = () => lockWhenFree(`${at}.lock`)
  return async (masterKey) => {
    const unlock = await lock()
    try {
      return await openFileSecretStore({ dir: at, masterKey, random, lock })
    } finally {
      unlock()
    }
  }
})

describe('a secret store', () => {
  test('gives back what was put, after reopening as well, and null for what never was', async () => {
    const disk = await createFilled()
    const store = await open(disk)
    expect(await readAll(store)).toEqual(secrets)
    expect(await store.list()).toEqual(Object.keys(secrets).toSorted())
    expect(await store.find('never/stored')).toBeNull()
  })

  test('replaces a value, and then the old one is nowhere on disk', async () => {
    const disk = await createFilled()
    const before = disk.readWhole(fileOf('ledger/log'))
    const store = await open(disk)
    await store.put('ledger/log', Uint8Array.of(1, 2, 3))
    expect(await (await open(disk)).find('ledger/log')).toEqual(Uint8Array.of(1, 2, 3))
    expect(disk.readWhole(fileOf('ledger/log')).equals(before)).toBe(false)
  })

  test('writes neither values nor the master key in clear, and no nonce twice [secrets:encrypted]', async () => {
    const disk = await createFilled()
    const texts = disk.paths().map((path) => disk.readWhole(path))
    for (const bytes of texts) {
      expect(bytes.includes('private key of the')).toBe(false)
      expect(bytes.includes(Buffer.from(keyA).toString('base64'))).toBe(false)
    }
    const nonces = texts.flatMap((bytes) => bytes.toString().match(/"nonce":"[^"]+"/g) ?? [])
    expect(nonces.length).toBeGreaterThan(4)
    expect(new Set(nonces).size).toBe(nonces.length)
  })

  test('keeps its own copy of what is put', async () => {
    const store = await open(new LossyDisk())
    const value = Uint8Array.of(1, 2, 3)
    const putting = store.put('a', value)
    value.fill(0)
    await putting
    expect(await store.find('a')).toEqual(Uint8Array.of(1, 2, 3))
  })

  test.each(['', '/', 'a/', '/a', 'a//b', '../a', 'A', 'a+b', '.index', 'a\0', 'x'.repeat(201)])(
    'refuses the name %j',
    async (name) => {
      const store = await open(new LossyDisk())
      expect(() => store.put(name, Uint8Array.of(1))).toThrow(TypeError)
      await expect(store.find(name)).rejects.toThrow(TypeError)
    },
  )

  test('carries out simultaneous puts one after the other', async () => {
    const disk = new LossyDisk()
    const store = await open(disk)
    const puts = Array.from({ length: 20 }, (_, i) => store.put(`n/${i % 4}`, Uint8Array.of(i)))
    await Promise.all(puts)
    const found = await readAll(await open(disk))
    expect(Object.values(found).map((value) => value?.[0])).toEqual([16, 17, 18, 19])
  })
})

describe('tampering on disk', () => {
  test('every single flipped bit of every file is noticed', async () => {
    const disk = await createFilled()
    for (const path of disk.paths()) {
      const bytes = disk.readWhole(path)
      // One bit in each byte, another one each time; all of them would only take longer.
      for (let at = 0; at < bytes.length; at++) {
        const changed = Buffer.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
        disk.overwrite(path, changed)
        await expect(open(disk).then(readAll), `${path} byte ${at}`).rejects.toThrow()
      }
      disk.overwrite(path, bytes)
    }
    expect(await readAll(await open(disk))).toEqual(secrets)
  })

  test('every truncation of a secret is noticed', async () => {
    const disk = await createFilled()
    const path = fileOf('ca/intermediate')
    const bytes = disk.readWhole(path)
    for (let length = 0; length < bytes.length; length += 7) {
      disk.overwrite(path, bytes.subarray(0, length))
      await expect(open(disk).then(readAll), `${length} bytes`).rejects.toThrow('ca/intermediate')
    }
  })

  test('two secrets that changed places are noticed', async () => {
    const disk = await createFilled()
    const a = fileOf('ca/intermediate')
    const b = fileOf('ledger/log')
    const first = disk.readWhole(a)
    disk.overwrite(a, disk.readWhole(b))
    disk.overwrite(b, first)
    await expect(open(disk).then(readAll)).rejects.toThrow('swapped')
  })

  test('a secret under a changed name is noticed', async () => {
    const disk = await createFilled()
    const text = disk.readWhole(fileOf('ca/intermediate')).toString()
    disk.overwrite(fileOf('ledger/log'), Buffer.from(text.replace('ca/intermediate', 'ledger/log')))
    await expect(open(disk).then(readAll)).rejects.toThrow('changed on disk')
  })

  test('an older version that was put back is noticed', async () => {
    const disk = await createFilled()
    const old = disk.readWhole(fileOf('ledger/log'))
    await (await open(disk)).put('ledger/log', Uint8Array.of(9))
    disk.overwrite(fileOf('ledger/log'), old)
    await expect(open(disk).then(readAll)).rejects.toThrow('put back to an older version')
    // Nor can it be renumbered: the version is authenticated.
    const text = old.toString().replace('"version":1', '"version":2')
    disk.overwrite(fileOf('ledger/log'), Buffer.from(text))
    await expect(open(disk).then(readAll)).rejects.toThrow('changed on disk')
  })

  test('a secret that was removed is a failure, not an absence', async () => {
    const disk = await createFilled()
    const store = await open(disk)
    await disk.remove(fileOf('ledger/log'))
    await expect(store.find('ledger/log')).rejects.toThrow('missing')
  })

  test('an index that was removed is a failure, not a first start', async () => {
    const disk = await createFilled()
    await disk.remove(`${dir}/.index`)
    await expect(open(disk)).rejects.toThrow('index of secrets is missing')
  })

  test('a wrong master key fails at once, with a next step', async () => {
    const disk = await createFilled()
    await expect(open(disk, keyB)).rejects.toThrow(/master key does not open.*configure the key/)
    await expect(open(disk, new Uint8Array(16))).rejects.toThrow('32 bytes')
  })
})

describe('a rotation', () => {
  test('leaves every value as it was, under the new key only', async () => {
    const disk = await createFilled()
    const store = await open(disk)
    await store.rotate(keyB)
    expect(await readAll(store)).toEqual(secrets)
    expect(await readAll(await open(disk, keyB))).toEqual(secrets)
    await expect(open(disk, keyA)).rejects.toThrow('master key')
    for (const path of disk.paths()) {
      expect(
        disk
          .readWhole(path)
          .toString()
          .match(/"key":/g),
        path,
      ).toHaveLength(1)
    }
  })

  test('to the key in force is refused', async () => {
    const store = await open(await createFilled())
    await expect(store.rotate(keyA)).rejects.toThrow(TypeError)
    expect(await store.find('ledger/log')).toEqual(secrets['ledger/log'])
  })
})

/** Ways of ending: the process alone, or the power, with nothing, everything or half surviving. */
const endings: readonly ['process' | Survival, string][] = [
  ['process', 'the process dies'],
  ['synced', 'only what was synced survives'],
  ['everything', 'everything survives'],
  [halfOf(), 'every second unsynced write survives'],
]
function halfOf(): () => boolean {
  let turn = 0
  return () => turn++ % 2 === 0
}

async function countOperations(work: (store: SecretStore) => Promise<void>): Promise<number> {
  const disk = (await createFilled()).copy()
  const store = await open(disk)
  const before = disk.log.length
  await work(store)
  return disk.log.length - before
}

/**
 * Fails operation `at` of `work`, ends the process in one of the ways, and reports whether the
 * operation was acknowledged.
 */
async function crash(
  base: LossyDisk,
  options: { at: number; when: 'before' | 'after'; ending: 'process' | Survival },
  work: (store: SecretStore) => Promise<void>,
): Promise<LossyDisk> {
  const disk = base.copy()
  const store = await open(disk)
  const opened = disk.log.length
  disk.restart({ at: options.at, when: options.when, process: 'dies' })
  expect(opened).toBeGreaterThan(0)
  await expect(work(store)).rejects.toThrow()
  if (options.ending === 'process') disk.restart()
  else disk.powerLoss(options.ending)
  return disk
}

describe.each(endings)('a crash after which %s (%s)', (ending) => {
  test('at any write of a put leaves the old value or the new one', async () => {
    const base = await createFilled()
    const value = Uint8Array.of(4, 2)
    const work = (store: SecretStore) => store.put('ledger/log', value)
    const count = await countOperations(work)
    expect(count).toBeGreaterThanOrEqual(10)
    for (let at = 1; at <= count; at++) {
      for (const when of ['before', 'after'] as const) {
        const disk = await crash(base, { at, when, ending }, work)
        const store = await open(disk)
        const { 'ledger/log': found, ...others } = await readAll(store)
        expect([value, secrets['ledger/log']], `${at} ${when}`).toContainEqual(found)
        expect({ ...others, 'ledger/log': secrets['ledger/log'] }).toEqual(secrets)
        // And the store goes on.
        await store.put('ledger/log', Uint8Array.of(7))
        expect(await (await open(disk)).find('ledger/log')).toEqual(Uint8Array.of(7))
      }
    }
  })

  test('at any write of a rotation leaves every value under the old key or the new one', async () => {
    const base = await createFilled()
    const work = (store: SecretStore) => store.rotate(keyB)
    const count = await countOperations(work)
    expect(count).toBeGreaterThanOrEqual(40)
    const outcomes = new Set<string>()
    for (let at = 1; at <= count; at++) {
      for (const when of ['before', 'after'] as const) {
        const disk = await crash(base, { at, when, ending }, work)
        const opens = await Promise.all(
          [keyA, keyB].map((key) => open(disk.copy(), key).then(readAll, () => null)),
        )
        const good = opens.filter((found) => found !== null)
        expect(good.length, `${at} ${when}`).toBeGreaterThanOrEqual(1)
        for (const found of good) expect(found).toEqual(secrets)
        outcomes.add(opens.map((found) => (found === null ? '-' : '+')).join(''))
        await finishes(disk, opens[0] === null ? keyB : keyA)
      }
    }
    // Before the commit, at it, and after it.
    expect([...outcomes]).toEqual(expect.arrayContaining(['+-', '++', '-+']))
  })
})

/**
 * The process that opens the store finishes the rotation: afterwards exactly that key opens, and no
 * file holds another wrap.
 */
async function finishes(disk: LossyDisk, key: typeof keyA): Promise<void> {
  await open(disk, key)
  const other = key === keyA ? keyB : keyA
  await expect(open(disk, other)).rejects.toThrow('master key')
  for (const path of disk.paths()) {
    expect(
      disk
        .readWhole(path)
        .toString()
        .match(/"key":/g),
      path,
    ).toHaveLength(1)
  }
}

test('the first secret of a new store survives a power loss, folder and all', async () => {
  const disk = new LossyDisk()
  await (await open(disk)).put('ledger/log', Uint8Array.of(1))
  disk.powerLoss('synced')
  expect(await (await open(disk)).find('ledger/log')).toEqual(Uint8Array.of(1))
})

test('a write that failed stops the store until it is opened again', async () => {
  const disk = await createFilled()
  const store = await open(disk)
  disk.failNext('sync')
  await expect(store.put('ledger/log', Uint8Array.of(1))).rejects.toThrow()
  await expect(store.find('ledger/log')).rejects.toThrow('opened again')
  expect(await (await open(disk)).find('ledger/log')).toEqual(secrets['ledger/log'])
})
