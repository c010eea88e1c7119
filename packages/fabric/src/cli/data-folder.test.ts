import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Environment } from '../config/read.ts'
import {
  findDataFolder,
  findRunning,
  requireRunning,
  stateRunning,
  unstateRunning,
} from './data-folder.ts'

const environment: Environment = {
  configPath: null,
  dataDir: null,
  masterKey: null,
  colours: false,
  userConfigDir: '/nowhere',
  supervisor: { notifySocket: null, watchdogMs: null },
}
/** Larger than any process id of Linux (2^22) or macOS. */
const pidOfNobody = 99_999_999

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'data-folder-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('the data folder', () => {
  test('is the named one, else that of the environment, else that of the configuration', async () => {
    const config = join(dir, 'countersign.yaml')
    await writeFile(config, `dataDir: ${dir}/configured\nmasterKey: { from: environment }\n`)
    const fromEnvironment = { ...environment, dataDir: '/b' }
    expect(findDataFolder({ data: '/a', config }, fromEnvironment)).toBe('/a')
    expect(findDataFolder({ config }, fromEnvironment)).toBe('/b')
    expect(findDataFolder({ config }, environment)).toBe(join(dir, 'configured'))
  })

  test('is .countersign here by default', () => {
    expect(findDataFolder({}, environment)).toBe(resolve('.countersign'))
  })
})

describe('a running fabric', () => {
  const origin = 'https://127.0.0.1:8443'

  test('is found while its process lives, and not after it stopped', async () => {
    await stateRunning(dir, { origin, pid: process.pid, slot: 'a' })
    expect(await findRunning(dir)).toEqual({ origin, pid: process.pid, slot: 'a' })
    await unstateRunning(dir, { pid: process.pid, slot: 'a' })
    expect(await findRunning(dir)).toBeNull()
  })

  test('that crashed is named as gone, with the way to start it', async () => {
    await stateRunning(dir, { origin, pid: pidOfNobody, slot: 'a' })
    expect(await findRunning(dir)).toBeNull()
    await expect(requireRunning(dir)).rejects.toMatchObject({
      exit: 'unreachable',
      message: expect.stringContaining(`process ${pidOfNobody} is gone`),
      next: expect.stringContaining('countersign up'),
    })
  })

  test('leaves the note of another one alone when it stops', async () => {
    await stateRunning(dir, { origin, pid: process.pid, slot: 'a' })
    await unstateRunning(dir, { pid: pidOfNobody, slot: 'a' })
    expect(await findRunning(dir)).not.toBeNull()
  })

  test.each([
    '',
    '{',
    '[]',
    '{"origin":1,"pid":1}',
    '{"origin":"https://a","pid":0}',
    '{"origin":"https://a","pid":-1}',
  ])('is not found in a damaged note: %s', async (text) => {
    await writeFile(join(dir, 'fabric.json'), text)
    expect(await findRunning(dir)).toBeNull()
  })
})
