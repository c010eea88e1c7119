import { chmod, mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lockFile } from '../adapters/file/file-lock.ts'
import { parseConfig } from '../config/config.ts'
import { examine, type Finding } from './health-checks.ts'

const environment = {
  configPath: null,
  dataDir: null,
  masterKey: null,
  colours: false,
  userConfigDir: '',
  supervisor: { notifySocket: null, watchdogMs: null },
}

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'doctor-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function findingOf(name: string, port = 0): Promise<Finding | undefined> {
  const around = { ...environment, userConfigDir: join(dir, 'config') }
  const config = parseConfig(null, around, { dataDir: join(dir, 'data'), port })
  const clock = { now: () => Date.UTC(2026, 5, 1), monotonic: () => 0 }
  const findings = await examine({ config, clock })
  return findings.find((finding) => finding.name === name)
}

describe('doctor', () => {
  test('finds nothing wrong before the first start', async () => {
    for (const name of ['data folder', 'master key', 'fabric', 'port', 'policies', 'ledger lock']) {
      expect(await findingOf(name)).toMatchObject({ state: 'ok', next: '' })
    }
  })

  test('sees a data folder that others can look into', async () => {
    await mkdir(join(dir, 'data'))
    await chmod(join(dir, 'data'), 0o755)
    const found = await findingOf('data folder')
    expect(found?.state).toBe('fail')
    expect(found?.next).toContain('chmod 700')
  })

  test('sees that the key is gone, while what it opens is there', async () => {
    await mkdir(join(dir, 'data', 'secrets'), { recursive: true, mode: 0o700 })
    await writeFile(join(dir, 'data', 'secrets', 'sealed'), '')
    const found = await findingOf('master key')
    expect(found?.state).toBe('fail')
    expect(found?.next).toContain('restore it')
  })

  test('sees a port that another process holds', async () => {
    const server = createServer()
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        const address = server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : 0)
      })
    })
    const found = await findingOf('port', port)
    server.close()
    expect(found?.state).toBe('fail')
  })

  test('sees a clock that was set back', async () => {
    await mkdir(join(dir, 'data'), { mode: 0o700 })
    const later = Date.UTC(2026, 5, 2) / 1000
    await writeFile(join(dir, 'data', 'state.db'), '')
    await utimes(join(dir, 'data', 'state.db'), later, later)
    expect((await findingOf('clock'))?.state).toBe('fail')
  })

  test('sees that another process holds the log of one slot, of several', async () => {
    for (const slot of ['a', 'b', 'not-a-slot']) {
      await mkdir(join(dir, 'data', 'ledger', slot), { recursive: true, mode: 0o700 })
      await writeFile(join(dir, 'data', 'ledger', slot, 'lock'), '')
    }
    expect(await findingOf('ledger lock')).toMatchObject({
      ...{ state: 'ok', says: 'slot a: free; slot b: free' },
    })
    const unlock = lockFile(join(dir, 'data', 'ledger', 'b', 'lock'), 'the ledger')
    try {
      const found = await findingOf('ledger lock')
      expect(found).toMatchObject({ state: 'fail', says: expect.stringContaining('slot b: ') })
      expect(found?.next).toContain(join('ledger', 'b', 'lock'))
    } finally {
      unlock()
    }
  })

  test('sees the log of each slot, and not of the first alone', async () => {
    await mkdir(join(dir, 'data', 'ledger', 'b', 'log'), { recursive: true, mode: 0o700 })
    expect(await findingOf('ledger')).toMatchObject({
      state: 'warn',
      next: 'start the fabric once',
    })
  })

  test('sees policies that would not load, and where', async () => {
    await mkdir(join(dir, 'data', 'policies'), { recursive: true, mode: 0o700 })
    await writeFile(join(dir, 'data', 'policies', 'a.cedar'), 'permit(principal, action, )')
    const found = await findingOf('policies')
    expect(found?.state).toBe('fail')
    expect(found?.says).toContain('a.cedar:1')
  })
})
