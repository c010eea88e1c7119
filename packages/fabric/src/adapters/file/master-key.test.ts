import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemRandom } from '../../lib/random.ts'
import type { Keyring } from '../../secrets/master-key.ts'
import { openOsKeyring } from '../keyring/os-keyring.ts'
import { openConfiguredMasterKey } from './master-key.ts'

let root = ''
let dataDir = ''

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'countersign-key-'))
  dataDir = join(root, 'data')
  await mkdir(dataDir)
})
afterEach(() => rm(root, { recursive: true }))

const open = (
  place: Parameters<typeof openConfiguredMasterKey>[0],
  keyring: () => Promise<Keyring> = () => Promise.reject(new Error('no keyring here')),
) => openConfiguredMasterKey(place, dataDir, systemRandom, keyring)

async function fillStore(): Promise<void> {
  await mkdir(join(dataDir, 'secrets'))
  await writeFile(join(dataDir, 'secrets', '.index'), '{}')
}

describe('a key file', () => {
  const place = () => ({ from: 'key-file', path: join(root, 'keys', 'fabric.key') }) as const

  test('is made on the first start, for the owner only, and is the same on the next', async () => {
    const key = await open(place())
    expect(key).toHaveLength(32)
    expect((await stat(place().path)).mode & 0o777).toBe(0o600)
    await fillStore()
    expect(await open(place())).toEqual(key)
  })

  test('is never made a second time: it would open nothing', async () => {
    await fillStore()
    await expect(open(place())).rejects.toThrow('restore the key')
  })

  test('is random, so two fabrics never share one', async () => {
    const first = await open(place())
    const second = await open({ from: 'key-file', path: join(root, 'other.key') })
    expect(first).not.toEqual(second)
  })

  test('may hold 32 raw bytes', async () => {
    const raw = systemRandom(32)
    const path = join(root, 'raw.key')
    await writeFile(path, raw, { mode: 0o600 })
    expect(await open({ from: 'key-file', path })).toEqual(raw)
  })

  test.each([0o644, 0o640, 0o604, 0o660, 0o601])('with mode %o is refused', async (mode) => {
    await open(place())
    await chmod(place().path, mode)
    await expect(open(place())).rejects.toMatchObject({ next: `run: chmod 600 ${place().path}` })
  })

  test('that is a link, a folder or no key is refused', async () => {
    await open(place())
    const link = join(root, 'link.key')
    await symlink(place().path, link)
    await expect(open({ from: 'key-file', path: link })).rejects.toThrow('link')
    await expect(open({ from: 'key-file', path: join(root, 'keys') })).rejects.toThrow(
      'not a key file',
    )
    const pipe = join(root, 'pipe')
    execFileSync('mkfifo', ['-m', '600', pipe])
    await expect(open({ from: 'key-file', path: pipe })).rejects.toThrow('not a key file')
    await writeFile(place().path, 'secret\n')
    await expect(open(place())).rejects.toThrow('32 bytes in base64')
  })

  test('is neither made nor read inside the data folder, where every backup would carry it along', async () => {
    const path = join(dataDir, 'fabric.key')
    const refused = { message: expect.stringContaining(`${path} is inside the data folder`) }
    await expect(open({ from: 'key-file', path })).rejects.toMatchObject({
      ...refused,
      next: expect.stringContaining('masterKey.path'),
    })
    await expect(stat(path)).rejects.toThrow('ENOENT')
    await writeFile(path, systemRandom(32), { mode: 0o600 })
    await expect(open({ from: 'key-file', path })).rejects.toMatchObject(refused)
    await expect(open({ from: 'passphrase-file', path })).rejects.toMatchObject(refused)
  })

  test('is found inside the data folder behind links as well', async () => {
    const link = join(root, 'link')
    await symlink(dataDir, link)
    const path = join(link, 'keys', 'fabric.key')
    await expect(open({ from: 'key-file', path })).rejects.toThrow('inside the data folder')
  })
})

describe('a passphrase', () => {
  const passphrase = 'correct horse battery staple'
  const place = () => ({ from: 'passphrase-file', path: join(root, 'passphrase') }) as const
  const write = (text: string, mode = 0o600) => writeFile(place().path, text, { mode })

  test('gives the same key on every start, whatever newline the editor left', async () => {
    await write(`${passphrase}\n`)
    const key = await open(place())
    await write(passphrase)
    expect(await open(place())).toEqual(key)
    await write(`${passphrase}!`)
    expect(await open(place())).not.toEqual(key)
  })

  test('gives another key in another store, because the salt is another', async () => {
    await write(passphrase)
    const key = await open(place())
    await rm(join(dataDir, 'passphrase.json'))
    expect(await open(place())).not.toEqual(key)
  })

  test('is refused when short, readable by others, or absent', async () => {
    await expect(open(place())).rejects.toThrow('does not exist')
    await write('hunter2')
    await expect(open(place())).rejects.toThrow('at least 16')
    await chmod(place().path, 0o644)
    await expect(open(place())).rejects.toThrow('others can read')
  })

  test.each([
    ['cheap to guess', { N: 2 }],
    ['not a power of two', { N: 40_000 }],
    ['more memory than there is', { N: 2 ** 30 }],
    ['another function', { kdf: 'none' }],
    ['a short salt', { salt: 'AAAA' }],
  ])('is refused with parameters that are %s', async (_, change) => {
    await write(passphrase)
    await open(place())
    const path = join(dataDir, 'passphrase.json')
    const stored = JSON.parse(await readFile(path, 'utf8')) as object
    await writeFile(path, JSON.stringify({ ...stored, ...change }))
    await expect(open(place())).rejects.toThrow('damaged')
  })
})

describe('a key from the environment', () => {
  test('is 32 bytes in base64 and nothing else', async () => {
    const key = systemRandom(32)
    const value = Buffer.from(key).toString('base64')
    expect(await open({ from: 'environment', value })).toEqual(key)
    for (const wrong of ['', 'changeme', value.slice(4), `${value}\n`, `${value}AAAA`]) {
      const opening = open({ from: 'environment', value: wrong })
      await expect(opening).rejects.toThrow('32 bytes in base64')
      // The message is for logs, so it must not repeat what may be a nearly right key.
      await opening.catch((error: unknown) => {
        if (wrong !== '') expect(String(error)).not.toContain(wrong)
      })
    }
  })
})

describe('a key in the keyring', () => {
  /** The part of the vendor's client that is used, over a map. */
  function fakeClient(entries = new Map<string, string>()) {
    class AsyncEntry {
      readonly #id: string
      constructor(service: string, account: string) {
        this.#id = `${service}/${account}`
      }
      getPassword(): Promise<string | undefined> {
        return Promise.resolve(entries.get(this.#id))
      }
      setPassword(password: string): Promise<void> {
        entries.set(this.#id, password)
        return Promise.resolve()
      }
    }
    return { entries, open: () => openOsKeyring(() => Promise.resolve({ AsyncEntry })) }
  }
  const place = { from: 'keyring', account: 'fabric-1' } as const

  test('is made on the first start and found on the next', async () => {
    const { entries, open: keyring } = fakeClient()
    const key = await open(place, keyring)
    expect(entries.size).toBe(1)
    await fillStore()
    expect(await open(place, keyring)).toEqual(key)
  })

  test('is not replaced when it is gone or spoilt', async () => {
    const { entries, open: keyring } = fakeClient()
    await fillStore()
    await expect(open(place, keyring)).rejects.toThrow('restore the key')
    entries.set('countersign/fabric-1', 'not base64!')
    await expect(open(place, keyring)).rejects.toThrow('not a master key')
    expect(entries.get('countersign/fabric-1')).toBe('not base64!')
  })

  test('without the client names the package to install', async () => {
    const missing = () => openOsKeyring(() => Promise.reject(new Error('not found')))
    await expect(open(place, missing)).rejects.toThrow('npm install @napi-rs/keyring')
    const foreign = () => openOsKeyring(() => Promise.resolve({}))
    await expect(open(place, foreign)).rejects.toThrow('unknown version')
  })
})
