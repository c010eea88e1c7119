import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findIdentity, type StoredIdentity, saveIdentity } from './identity-file.ts'

const stored: StoredIdentity = {
  v: 1,
  url: 'https://fabric.example',
  trust: { v: 1 },
  keys: { tls: 'a', signing: 'b', sealing: 'c' },
  granted: null,
}

let base = ''
beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), 'countersign-identity-'))
})
afterEach(() => rm(base, { recursive: true, force: true }))

describe('a stored identity', () => {
  test('is read back as it was saved, from a folder that was made for it', async () => {
    const dir = path.join(base, 'a', 'b')
    expect(await findIdentity(dir)).toBeNull()
    await saveIdentity(dir, stored)
    expect(await findIdentity(dir)).toEqual(stored)
    await saveIdentity(dir, { ...stored, granted: { n: 2 } })
    expect(await findIdentity(dir)).toEqual({ ...stored, granted: { n: 2 } })
  })

  test('is for its owner only, and nothing is left beside it', async () => {
    await chmod(base, 0o755)
    await saveIdentity(base, stored)
    expect((await stat(base)).mode & 0o777).toBe(0o700)
    expect((await stat(path.join(base, 'agent.json'))).mode & 0o777).toBe(0o600)
    expect(await readdir(base)).toEqual(['agent.json'])
  })

  test('that others can read is not used', async () => {
    await saveIdentity(base, stored)
    await chmod(path.join(base, 'agent.json'), 0o640)
    await expect(findIdentity(base)).rejects.toMatchObject({ code: 'IDENTITY_DAMAGED' })
  })

  test.each([
    ['nothing', ''],
    ['half of it', '{"v":1,"url"'],
    ['a list', '[]'],
    ['another version', JSON.stringify({ ...stored, v: 2 })],
    ['no address', JSON.stringify({ ...stored, url: 7 })],
    ['no keys', JSON.stringify({ ...stored, keys: null })],
    ['a key that is missing', JSON.stringify({ ...stored, keys: { tls: 'a', signing: 'b' } })],
    ['too much', ' '.repeat(1024 * 1024 + 1)],
  ])('of %s is damaged', async (_, text) => {
    await writeFile(path.join(base, 'agent.json'), text, { mode: 0o600 })
    await expect(findIdentity(base)).rejects.toMatchObject({ code: 'IDENTITY_DAMAGED' })
  })

  test('that cannot be replaced stays as it was', async () => {
    const target = path.join(base, 'agent.json')
    await mkdir(path.join(target, 'in-the-way'), { recursive: true })
    await expect(saveIdentity(base, stored)).rejects.toThrow()
    expect(await readdir(base)).toEqual(['agent.json'])
    await rm(target, { recursive: true })
    await saveIdentity(base, stored)
    expect(JSON.parse(await readFile(target, 'utf8'))).toEqual(stored)
  })
})
