import {
  chmodSync,
  existsSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeFolder, readNamed, UnusableFile } from './named-path.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'make-folder-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function faultOf(path: string): UnusableFile {
  try {
    makeFolder(path)
  } catch (error) {
    if (error instanceof UnusableFile) return error
    throw error
  }
  throw new Error(`${path} was made`)
}

describe('a folder', () => {
  test('is made with those above it, for this user alone, and may exist', () => {
    const path = join(dir, 'a', 'b', 'c')
    makeFolder(path)
    makeFolder(path)
    for (const each of ['a', 'a/b', 'a/b/c']) {
      expect(statSync(join(dir, each)).mode & 0o777).toBe(0o700)
    }
  })

  test('behind a file is refused by the name of the file', () => {
    const file = join(dir, 'file')
    writeFileSync(file, '')
    expect(faultOf(file).message).toBe(`${file} is not a folder`)
    const below = join(file, 'a', 'b')
    expect(faultOf(below).message).toBe(`${file} is not a folder, so ${below} cannot be made`)
  })

  test('behind a link that leads nowhere or in a circle is refused', () => {
    const nowhere = join(dir, 'nowhere')
    symlinkSync(join(dir, 'absent', 'target'), nowhere)
    expect(faultOf(nowhere).message).toContain('something else has that name')
    const circle = join(dir, 'circle')
    symlinkSync(circle, circle)
    expect(faultOf(join(circle, 'a')).message).toContain('circle')
  })

  test.skipIf(!existsSync('/proc/self'))('is refused at once where there are none', () => {
    for (const path of ['/proc/xx', '/proc/xx/yy', '/proc/self/xx', '/sys/xx']) {
      const { message, next } = faultOf(path)
      expect(message).toContain('cannot be made')
      expect(next).toContain('choose another folder')
    }
  })

  test('with a name that is too long is refused', () => {
    expect(faultOf(join(dir, 'a'.repeat(300))).message).toContain('the name is too long')
  })

  test.skipIf(process.getuid?.() === 0)(
    'without permission for this user to write is refused',
    () => {
      chmodSync(dir, 0o500)
      expect(faultOf(join(dir, 'a')).message).toContain('this user may not write there')
    },
  )
})

describe('a file that the user named', () => {
  test('is read whole, up to its bound', () => {
    const path = join(dir, 'file')
    const bytes = new Uint8Array(100_000).map((_, i) => i)
    writeFileSync(path, bytes)
    expect(readNamed(path, 100_000)).toEqual(bytes)
    expect(() => readNamed(path, 99_999)).toThrow(`${path} is longer than 99999 bytes`)
  })

  test.skipIf(process.platform !== 'linux')('a device without end is given up', () => {
    expect(() => readNamed('/dev/zero', 100_000)).toThrow('/dev/zero is longer than')
  })

  test('errors name the path, of a folder too', () => {
    expect(() => readNamed(dir, 1)).toThrow(expect.objectContaining({ code: 'EISDIR', path: dir }))
    const absent = join(dir, 'absent')
    expect(() => readNamed(absent, 1)).toThrow(expect.objectContaining({ path: absent }))
  })
})
