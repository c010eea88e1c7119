import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import vector from '../../../protocol/vectors/receipt.json' with { type: 'json' }
import { EXIT_CODES } from './exit-codes.ts'
import { run } from './run.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-cli-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function countersign(...args: readonly string[]) {
  const written = { stdout: '', stderr: '' }
  const screen = (to: 'stdout' | 'stderr') => ({
    write: (text: string | Uint8Array) => {
      written[to] += String(text)
    },
  })
  const status = await run(args, { stdout: screen('stdout'), stderr: screen('stderr') })
  return { status, ...written }
}

function fileOf(name: string, content: string | Uint8Array): string {
  const path = join(dir, name)
  writeFileSync(path, content)
  return path
}

describe('countersign', () => {
  test('shows its commands on stdout and ends with 0', async () => {
    const { status, stdout, stderr } = await countersign('--help')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    for (const command of ['up', 'protect', 'verify', 'doctor']) expect(stdout).toContain(command)
  })

  test('ends with 2 for a command that does not exist, and suggests the one that was meant', async () => {
    const { status, stdout, stderr } = await countersign('protet')
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain("error: unknown command 'protet'")
    expect(stderr).toContain('protect')
  })

  test('ends with 2 for a group without a command, and shows what it has', async () => {
    const { status, stderr } = await countersign('agent')
    expect(status).toBe(2)
    expect(stderr).toContain('quarantine')
  })

  test.each([
    [['up', '--port', 'http'], 'A port is between 0 and 65535'],
    [['agent', 'show', 'Not A Name'], 'A name has lower-case letters'],
    [['protect', 'http://127.0.0.1:9000'], '--as <name>'],
    [['protect', 'http://10.0.0.1:9000', '--as', 'a'], 'in the clear'],
    [['protect', 'http://127.0.0.1:9000', '--as', 'fabric'], 'fabric is reserved'],
    [['protect', 'http://127.0.0.1:9', '--as', 'a', '--caller', 'unknown'], 'unknown is reserved'],
    [['connect', '--as', 'gateway'], 'gateway is reserved'],
    [['key', 'create', 'fabric'], 'fabric is reserved'],
    [['channel', 'create', 'fabric', '--member', 'a'], 'fabric is reserved'],
    [['protect', 'http://127.0.0.1:1', '--as', 'a', '--protocol', 'grpc'], 'Allowed choices'],
    [['explain', 'dec_1'], 'not the id of an exchange'],
    [['verify', 'nowhere'], 'no trust is named'],
    [['verify', 'nowhere', '--trust', 'nowhere'], 'no trust can be read'],
  ])('ends with 2 for %j', async (args, says) => {
    const { status, stdout, stderr } = await countersign(...args)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain(says)
  })

  test('ends with 3 where no fabric is running, and says how to start one', async () => {
    const { status, stdout, stderr } = await countersign('agent', 'list', '--json', '--data', dir)
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' })
    expect(stderr).toContain(`next: start one with \`countersign up --data ${dir}`)
  })

  test('prints every exit code that it has', async () => {
    const { status, stdout } = await countersign('help', 'exit-codes')
    expect(status).toBe(0)
    for (const { code, means } of EXIT_CODES) expect(stdout).toContain(`${code}  ${means}`)
  })

  test('verifies a receipt offline, and ends with 1 for one that was changed', async () => {
    const trust = fileOf('trust.json', vector.trust)
    const bytes = Buffer.from(vector.receipt, 'base64')
    const good = await countersign('verify', fileOf('good', bytes), '--trust', trust, '--json')
    expect(good.status).toBe(0)
    expect(JSON.parse(good.stdout)).toMatchObject({ ok: true, receipt: { result: 'delivered' } })
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    const bad = await countersign('verify', fileOf('bad', bytes), '--trust', trust)
    expect(bad.status).toBe(1)
    expect(bad.stdout).toContain('not verified')
  })

  test('finds policies in a folder wanting, with file and line, and ends with 1', async () => {
    fileOf('a.cedar', 'permit(principal, action, resource);')
    expect((await countersign('policy', 'check', dir)).status).toBe(0)
    fileOf('b.cedar', '\npermit(principal == Nobody::"x", action, resource);')
    const { status, stdout } = await countersign('policy', 'check', dir, '--json')
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      valid: false,
      problems: [expect.stringContaining('b.cedar:2')],
    })
  })
})
