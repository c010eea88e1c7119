import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
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
    [['agent', 'enroll', 'a', '--ttl', '1h'], 'It is between 10s and 15m'],
    [['agent', 'enroll', 'a', '--ttl', '5s'], 'It is between 10s and 15m'],
    [['key', 'create', 'a', '--ttl', '9999d'], 'It is between 60s and 366d'],
    [['protect', 'http://127.0.0.1:9', '--as', 'a', '--ttl', '1s'], 'It is between 60s and 366d'],
    [['protect', 'http://127.0.0.1:1', '--as', 'a', '--protocol', 'grpc'], 'Allowed choices'],
    [['agent', 'enroll', 'a', '--kind', 'robot'], 'Allowed choices'],
    [['ledger', 'find', '--result', 'denied'], 'Allowed choices'],
    [['ledger', 'find', '--code', 'NOT_PERMITED'], 'Did you mean NOT_PERMITTED?'],
    [['ledger', 'find', '--since', 'yesterday'], '15m, 2h or 7d'],
    [['ledger', 'find', '--tool', ''], 'A name is expected'],
    [['status', '--data', ''], 'A path is expected'],
    [['connect', '--as', 'a', '--expose', 'http://10.0.0.1:9000'], 'in the clear'],
    [['connect', '--as', 'a', '--listen', '10.9.9.9:1'], 'is on loopback'],
    [['connect', '--as', 'a', '--listen', '[::1]:1'], 'is on loopback'],
    [['connect', '--as', 'a', '--advertise', 'nonsense'], 'https://host:port'],
    [['connect', '--as', 'a', '--advertise', 'http://a.example:1'], 'https://host:port'],
    [['explain', 'exc_1'], 'not the id of an exchange'],
    [['explain', 'dec_01890000000070008000000000000000'], 'is an id of an earlier version'],
    [['receipt', 'dec_01890000000070008000000000000000'], 'is an id of an earlier version'],
    [['verify', 'nowhere'], 'no trust is named'],
    [['policy', 'check', '/nowhere/at/all'], '/nowhere/at/all does not exist'],
    [['policy', 'test', '/nowhere/at/all'], '/nowhere/at/all does not exist'],
    [['verify', 'nowhere', '--trust', 'nowhere'], 'no trust can be read: nowhere does not exist'],
    [['verify', 'nowhere', '--trust', dir], `no trust can be read: ${dir} is a folder`],
  ])('ends with 2 for %j', async (args, says) => {
    const { status, stdout, stderr } = await countersign(...args)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain(says)
  })

  test('ends with 3 when no fabric is running, and shows how to start one', async () => {
    const { status, stdout, stderr } = await countersign('agent', 'list', '--json', '--data', dir)
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' })
    expect(stderr).toContain(`next: start one with \`countersign up --data ${dir}`)
  })

  test('a file in the place of a data folder is named by every command', async () => {
    const file = fileOf('file', '')
    const commands = [
      ['up'],
      ['status'],
      ['protect', 'http://127.0.0.1:9000', '--as', 'a'],
      ['connect', '--as', 'a'],
      ['verify', 'receipt'],
    ]
    for (const command of commands) {
      const { status, stderr } = await countersign(...command, '--data', file)
      expect({ status, command }).toEqual({ status: 2, command })
      expect(stderr).toContain(`${file} is not a folder`)
      expect(stderr).toContain('next: ')
      expect(stderr).not.toMatch(/E[A-Z]+:|file\//)
    }
  })

  test.skipIf(process.platform !== 'linux')(
    'ends at once with 2 for a data folder that cannot be made, with a next step',
    async () => {
      for (const data of ['/proc/xx', '/proc/xx/yy', '/proc', '/dev/null/x']) {
        const { status, stderr } = await countersign('up', '--port', '0', '--data', data)
        expect({ status, data }).toEqual({ status: 2, data })
        expect(stderr).toContain(`the data folder ${data} cannot be used: `)
        expect(stderr).toContain('next: name another one by --data')
        expect(stderr).not.toMatch(/probe|fabric\.json|does not exist/)
      }
      const join = `https://127.0.0.1:1/#csj_aaaaaaaa.${'A'.repeat(43)}`
      const connect = await countersign(
        'connect',
        '--as',
        'a',
        '--data',
        '/proc/xx',
        '--join',
        join,
      )
      expect(connect.status).toBe(3)
    },
  )

  test('reports for a join string of http that a fabric speaks https', async () => {
    const join = `http://127.0.0.1:1/#csj_aaaaaaaa.${'A'.repeat(43)}`
    const { status, stderr } = await countersign(
      'connect',
      '--as',
      'a',
      '--data',
      dir,
      '--join',
      join,
    )
    expect(status).toBe(2)
    expect(stderr).toContain('https only')
  })

  test('doctor reports in words that a port is taken', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const config = fileOf('taken.yaml', `listen: { port: ${port} }\ndataDir: ${dir}/absent\n`)
    const { stdout } = await countersign('doctor', '--config', config)
    server.close()
    expect(stdout).toContain(`port ${port} is in use by another process`)
    expect(stdout).not.toContain('EADDRINUSE')
  })

  test('checks the policies that the configuration names', async () => {
    const policies = mkdtempSync(join(tmpdir(), 'countersign-policies-'))
    writeFileSync(join(policies, 'a.cedar'), 'permit(principal, action, )')
    const config = fileOf('policies.yaml', `policyDir: ${policies}\n`)
    const { status, stdout } = await countersign('policy', 'check', '--config', config)
    rmSync(policies, { recursive: true })
    expect(status).toBe(1)
    expect(stdout).toContain('a.cedar:1')
  })

  test('reports a folder without an identity, and how to get one', async () => {
    const { status, stderr } = await countersign('status', '--identity', join(dir, 'none'))
    expect(status).toBe(3)
    expect(stderr).toContain('next: name the folder of an enrolled identity')
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

  test('refuses a receipt and a trust file of an earlier version by name', async () => {
    const trust = fileOf('trust.json', vector.trust)
    const receipt = Buffer.from(vector.receipt, 'base64').toString()
    const former = fileOf('former', receipt.replace('"v":2}', '"v":1}'))
    const { status, stdout } = await countersign('verify', former, '--trust', trust)
    expect(status).toBe(1)
    expect(stdout).toContain('RECEIPT_VERSION_UNKNOWN')
    expect(stdout).toContain('it has version 1, and this program verifies version 2')
    const formerTrust = fileOf('former.json', vector.trust.replace('"v": 3', '"v": 2'))
    const refused = await countersign('verify', fileOf('good', receipt), '--trust', formerTrust)
    expect(refused.status).toBe(2)
    expect(refused.stderr).toContain('former.json: the trust file has version 2')
    expect(refused.stderr).toContain('take it from the fabric again')
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
