import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const program = resolve(import.meta.dirname, '../../packages/fabric/src/main.ts')
const needed = ['/usr/bin/dbus-run-session', '/usr/bin/gnome-keyring-daemon']
const hasKeyring = needed.every((path) => existsSync(path))

let dir = ''

interface Ended {
  readonly exit: number | null
  /** The fabric reported that it is ready, and was then asked to stop. */
  readonly served: boolean
  readonly errors: string
}

/**
 * Does what a login does: starts a session bus, and on it the unlocked keyring of the owner of
 * `home`.
 */
const unlock = 'printf secret | gnome-keyring-daemon --unlock --components=secrets --daemonize'

/** Starts a fabric on `data` in a desktop session of its own, and stops it once it serves. */
async function startIn(home: string, data: string, login: string): Promise<Ended> {
  const homeDir = join(dir, home)
  mkdirSync(homeDir, { recursive: true, mode: 0o700 })
  const up = `up --config ${join(dir, 'countersign.yaml')} --data ${join(dir, data)} --port 0 --json`
  const script = `${login} >/dev/null; exec '${process.execPath}' --conditions=countersign-source '${program}' ${up}`
  const session = spawn('dbus-run-session', ['--', 'sh', '-c', script], {
    cwd: homeDir,
    env: { PATH: process.env['PATH'], HOME: homeDir, XDG_RUNTIME_DIR: homeDir },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 30_000,
  })
  return watch(session)
}

function watch(session: ChildProcess): Promise<Ended> {
  let output = ''
  let errors = ''
  let served = false
  session.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  session.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    const ready = output.split('\n').find((line) => line.includes('"event":"ready"'))
    if (ready === undefined || served) return
    served = true
    process.kill((JSON.parse(ready) as { pid: number }).pid, 'SIGTERM')
  })
  return new Promise((done) => session.once('close', (exit) => done({ exit, served, errors })))
}

const trustOf = (data: string) => readFileSync(join(dir, data, 'trust.json'), 'utf8')

beforeAll(() => {
  if (!hasKeyring) return
  dir = mkdtempSync(join(tmpdir(), 'countersign-keyring-'))
  writeFileSync(join(dir, 'countersign.yaml'), 'masterKey: { from: keyring }\n')
})
afterAll(() => {
  if (dir !== '') rmSync(dir, { recursive: true, force: true })
})

describe.skipIf(!hasKeyring)('the master key in the keyring of GNOME [secrets:encrypted]', () => {
  test('is made once and found again after the session has ended', async () => {
    expect(await startIn('alice', 'data', unlock)).toMatchObject({ served: true, exit: 0 })
    const trust = trustOf('data')
    expect(await startIn('alice', 'data', unlock)).toMatchObject({ served: true, exit: 0 })
    expect(trustOf('data')).toBe(trust)
    expect(existsSync(join(dir, 'alice/.config/countersign'))).toBe(false)
  })

  test('is not replaced where another user’s keyring does not hold it', async () => {
    const { served, exit, errors } = await startIn('bob', 'data', unlock)
    expect({ served, exit }).toEqual({ served: false, exit: 3 })
    expect(errors).toContain('but there are secrets already')
  })

  test('is not made where the keyring is locked', async () => {
    const { served, exit, errors } = await startIn('carol', 'new', 'true')
    expect({ served, exit }).toEqual({ served: false, exit: 3 })
    expect(errors).toContain('the keyring of this system cannot be used')
    expect(existsSync(join(dir, 'new/trust.json'))).toBe(false)
  })
})
