import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { systemFault } from './system-fault.ts'

const dir = mkdtempSync(join(tmpdir(), 'system-fault-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function thrownBy(act: () => void): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

test('of a path below a file, the file is named', () => {
  const file = join(dir, 'file')
  writeFileSync(file, '')
  const error = thrownBy(() => readFileSync(join(file, 'a', 'b')))
  expect(systemFault(error)).toMatchObject({ exit: 'usage', says: `${file} is not a folder` })
})

test.each([
  [{ code: 'EADDRINUSE', port: 8443 }, 'usage', 'port 8443 is in use by another process'],
  [{ code: 'EACCES', port: 80 }, 'usage', 'port 80 may not be used by this user'],
  [
    { code: 'EADDRNOTAVAIL', address: '10.9.9.9', syscall: 'listen' },
    'unreachable',
    '10.9.9.9 is not an address of this machine',
  ],
  [
    { code: 'ENOTFOUND', hostname: 'nowhere.invalid', syscall: 'getaddrinfo' },
    'unreachable',
    'the host name nowhere.invalid cannot be resolved',
  ],
  [
    { code: 'ECONNREFUSED', address: '127.0.0.1', port: 1, syscall: 'connect' },
    'unreachable',
    'nothing listens at 127.0.0.1:1',
  ],
  [{ code: 'EEXIST', path: '/x' }, 'usage', '/x exists already'],
  [
    { code: 'EIO', path: '/x' },
    'broken',
    '/x cannot be read or written: the disk reports an error',
  ],
] as const)('%j is reported in words, with a next step', (members, exit, says) => {
  const fault = systemFault(Object.assign(new Error(members.code), members))
  expect(fault).toMatchObject({ exit, says })
  expect(fault?.next).not.toBe('')
})

test('an error of ours is not one of the system', () => {
  expect(systemFault(new TypeError('x is not a function'))).toBeNull()
  expect(systemFault(Object.assign(new Error('x'), { code: 'constructor', path: '/x' }))).toBeNull()
})
