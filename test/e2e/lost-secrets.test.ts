import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { examine } from '../../packages/fabric/src/cli/health-checks.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { ShiftedClock } from '../harness/clock.ts'
import { withStoppedFabric } from '../harness/stopped-fabric.ts'

/** Every file below a folder, with its content. */
function contentOf(dir: string): Readonly<Record<string, string>> {
  const names = readdirSync(dir, { recursive: true }).map(String).toSorted()
  return Object.fromEntries(
    names.map((name) => {
      const path = join(dir, name)
      return [name, statSync(path).isDirectory() ? 'folder' : readFileSync(path, 'base64')]
    }),
  )
}

async function doctor(dir: string) {
  const path = join(dirname(dir), 'master.key')
  const file = {
    path: 'countersign.yaml',
    text: JSON.stringify({ masterKey: { from: 'key-file', path } }),
  }
  const config = parseConfig(file, readEnvironment(), { dataDir: dir, port: 0 })
  const findings = await examine({ config, clock: new ShiftedClock() })
  return findings.find(({ name }) => name === 'secrets')
}

const all = /has no index of secrets, so the key ledger\/a\/log and all others are missing, but/

test('a start without the secrets is refused, makes nothing, and goes on after their return', () =>
  withStoppedFabric(async ({ dir, startAndCheck }) => {
    const secrets = join(dir, 'secrets')
    const kept = join(dirname(dir), 'kept')
    const key = join(dirname(dir), 'master.key')
    expect(await doctor(dir)).toMatchObject({ state: 'ok' })
    renameSync(secrets, kept)
    const before = contentOf(dir)
    const refuse = async () => {
      await expect(startAndCheck()).rejects.toThrow(all)
      expect(await doctor(dir)).toMatchObject({ state: 'fail', says: expect.stringMatching(all) })
      expect(contentOf(dir)).toEqual(before)
    }
    await refuse()
    // A key that is made anew would be taken for the one that opens the backup.
    renameSync(key, `${key}.kept`)
    await refuse()
    expect(existsSync(key)).toBe(false)
    renameSync(`${key}.kept`, key)
    renameSync(kept, secrets)
    await startAndCheck()
    expect(await doctor(dir)).toMatchObject({ state: 'ok' })
  }))

test('a start without one secret names it, whichever it is, and changes nothing', () =>
  withStoppedFabric(async ({ dir, startAndCheck }) => {
    const secrets = join(dir, 'secrets')
    const files = readdirSync(secrets).filter((name) => name.endsWith('.secret'))
    expect(files.length).toBeGreaterThan(5)
    for (const file of files) {
      const kept = join(dirname(dir), file)
      renameSync(join(secrets, file), kept)
      const before = contentOf(dir)
      const name = file.replace(/\.secret$/, '').replaceAll('+', '/')
      const says = `secret ${name} is missing; restore it from a backup`
      await expect(startAndCheck()).rejects.toThrow(says)
      expect(await doctor(dir)).toMatchObject({ state: 'fail', says })
      expect(contentOf(dir)).toEqual(before)
      renameSync(kept, join(secrets, file))
    }
    rmSync(join(secrets, '.index'))
    const says = 'the index of secrets'
    expect(await doctor(dir)).toMatchObject({
      state: 'fail',
      says: expect.stringContaining('index'),
    })
    await expect(startAndCheck()).rejects.toThrow(says)
  }))
