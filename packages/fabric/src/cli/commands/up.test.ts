import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import type { ExchangePage, RouteView } from '@countersign/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { displayWidth } from '../output/display-width.ts'
import { run } from '../run.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-up-'))
const data = join(dir, 'data')
let fabric: ChildProcess
let ended: Promise<number | null>
let upstream: Server
let upstreamUrl = ''
/** A response that a test ends. */
let held: ServerResponse | null = null

beforeAll(async () => {
  upstream = createServer((request, response) => {
    if (request.url === '/slow') {
      held = response
      return
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ from: request.headers['countersign-from'] }))
  })
  upstreamUrl = await new Promise<string>((resolve) => {
    upstream.listen(0, '127.0.0.1', () => {
      const address = upstream.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      resolve(`http://127.0.0.1:${port}`)
    })
  })
  const main = join(import.meta.dirname, '../../main.ts')
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const flags = ['--conditions=countersign-source', main, 'up', '--json', '--port', '0']
  fabric = spawn(process.execPath, [...flags, '--data', data], {
    cwd: dir,
    env: { PATH, NODE_COMPILE_CACHE, XDG_CONFIG_HOME: join(dir, 'config') },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  ended = new Promise((resolve) => {
    fabric.once('exit', resolve)
  })
  await new Promise<void>((resolve, reject) => {
    let said = ''
    fabric.stdout?.on('data', (text: Buffer) => {
      said += text.toString()
      if (said.includes('"event":"ready"')) resolve()
    })
    void ended.then((code) => reject(new Error(`the fabric ended with ${code}`)))
  })
})

afterAll(async () => {
  fabric.kill('SIGKILL')
  // It writes into the folder until it is gone.
  await ended
  upstream.close()
  rmSync(dir, { recursive: true, force: true })
})

async function countersign(...args: readonly string[]) {
  const written = { stdout: '', stderr: '' }
  const screen = (to: 'stdout' | 'stderr') => ({
    write: (text: string | Uint8Array) => {
      written[to] += typeof text === 'string' ? text : Buffer.from(text).toString('utf8')
    },
  })
  const command = [...args, '--data', data]
  const status = await run(command, { stdout: screen('stdout'), stderr: screen('stderr') })
  return { status, ...written }
}

interface Answer {
  readonly status: number | undefined
  readonly exchange: string
  readonly body: string
  readonly headers: IncomingHttpHeaders
}

/** Does what `curl --cacert <data>/ca.pem -H 'X-Api-Key: …'` does. */
function curl(url: string, key: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { ca: readFileSync(join(data, 'ca.pem')), headers: { 'x-api-key': key } }
    const request = httpsRequest(url, { ...options, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('end', () => {
        const exchange = String(response.headers['countersign-exchange'])
        resolve({ status: response.statusCode, exchange, body, headers: response.headers })
      })
    })
    request.once('error', reject).end()
  })
}

let url = ''
let answered: Answer

test('a protected agent answers the caller that got the key', async () => {
  const protect = await countersign('protect', upstreamUrl, '--as', 'echo', '--json')
  expect(protect.status).toBe(0)
  const made = JSON.parse(protect.stdout) as { url: string; key: string; example: string }
  expect(made.example).toContain(`X-Api-Key: ${made.key}`)
  url = made.url
  answered = await curl(made.url, made.key)
  expect(answered.status).toBe(200)
  expect(JSON.parse(answered.body)).toEqual({
    from: 'spiffe://countersign.local/agent/echo-caller',
  })
})

const policyOf = (name: string) => join(data, 'policies', name)

test('a caller that is protected for again keeps its key, and an edited policy keeps its mask', async () => {
  const protect = async (...args: readonly string[]) => {
    const done = await countersign('protect', upstreamUrl, '--as', 'kept', '--json', ...args)
    expect(done.status, done.stderr).toBe(0)
    return JSON.parse(done.stdout) as {
      readonly url: string
      readonly key: string
      readonly policy: string
      readonly policyKept: boolean
      readonly policiesOfOthers: readonly string[]
    }
  }
  const first = await protect()
  expect(await protect()).toMatchObject({ policy: 'protect-kept.cedar', policyKept: false })
  const file = policyOf('protect-kept.cedar')
  const edited = readFileSync(file, 'utf8').replace('@description', '@mask("card")\n@description')
  writeFileSync(file, edited)
  const show = async () => (await countersign('policy', 'show')).stdout
  await expect.poll(show).toContain('@mask("card")')
  expect(await protect()).toMatchObject({ policy: 'protect-kept.cedar', policyKept: true })
  const second = await protect('--caller', 'c2')
  expect(second).toMatchObject({
    policy: 'protect-kept-c2.cedar',
    policyKept: false,
    policiesOfOthers: ['protect-kept.cedar'],
  })
  expect(readFileSync(file, 'utf8')).toBe(edited)
  for (const { key } of [first, second]) expect((await curl(first.url, key)).status).toBe(200)
  // The next file of the second caller would have the name of another agent's.
  const other = await countersign('protect', upstreamUrl, '--as', 'kept-c2', '--json')
  expect(JSON.parse(other.stdout)).toMatchObject({ policy: 'protect-kept-c2-kept-c2-caller.cedar' })
  expect((await curl(first.url, second.key)).status).toBe(200)
})

test('an existing route is pointed elsewhere by --replace alone', async () => {
  const urls = async (name: string) =>
    (
      JSON.parse((await countersign('route', 'list', '--json')).stdout) as {
        readonly name: string
        readonly urls: readonly string[]
        readonly protocol: string
      }[]
    ).filter((route) => route.name === name)
  const protect = (url: string, ...args: readonly string[]) =>
    countersign('protect', url, '--as', 'pointed', ...args)
  expect((await protect(upstreamUrl, '--protocol', 'http')).status).toBe(0)
  const before = await urls('pointed')
  for (const [to, ...args] of [[`${upstreamUrl}/x`], [upstreamUrl, '--protocol', 'mcp']] as const) {
    const { status, stdout, stderr } = await protect(to, ...args)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain('pointed is the name of http://')
    expect(stderr).toContain('--replace')
    expect(await urls('pointed')).toEqual(before)
  }
  expect((await protect(upstreamUrl)).stdout).toContain(
    'it permits pointed-caller to call pointed, and no other caller',
  )
  expect(await urls('pointed')).toEqual(before)
  expect((await protect(`${upstreamUrl}/x`, '--replace')).status).toBe(0)
  expect(await urls('pointed')).toMatchObject([{ protocol: 'http', urls: [`${upstreamUrl}/x`] }])
})

test('the receipt of that call verifies, and fails with one byte changed', async () => {
  const file = join(dir, 'receipt')
  expect((await countersign('receipt', answered.exchange, '--out', file)).status).toBe(0)
  expect((await countersign('verify', file)).status).toBe(0)
  const log = `${new URL(url).origin}/log/`
  // The public checkpoint follows the one of the receipt.
  const compared = async () => (await countersign('ledger', 'compare', file, log)).status
  await expect.poll(compared).toBe(0)
  const bytes = readFileSync(file)
  writeFileSync(file, bytes.with(40, (bytes[40] ?? 0) ^ 1))
  expect((await countersign('verify', file)).status).toBe(1)
})

test('an exchange under way has no receipt yet, and one that is not on record never has', async () => {
  const key = (await countersign('key', 'create', 'echo-caller')).stdout.trim()
  const calling = curl(`${url.replace(/\/$/, '')}/slow`, key)
  await expect.poll(() => held).not.toBeNull()
  const recent = await countersign('ledger', 'recent', '--json')
  const { exchanges } = JSON.parse(recent.stdout) as ExchangePage
  const open = exchanges.find(({ kind, caller }) => kind === 'intent' && caller === 'echo-caller')
  const rows = (await countersign('ledger', 'recent')).stdout.split('\n')
  expect(rows.find((row) => row.endsWith(open?.exchange ?? ''))).toContain('under way')
  const { exchange = '' } = open ?? {}
  const pending = await countersign('receipt', exchange)
  expect({ ...pending, stderr: '' }).toEqual({ status: 6, stdout: '', stderr: '' })
  expect(pending.stderr).toContain('is still open, so it has no receipt yet')
  expect((await countersign('explain', exchange)).stdout).toMatch(/^ended +still open$/m)
  held?.end('{}')
  await calling
  const ended = await countersign('receipt', exchange, '--out', join(dir, 'slow'))
  expect(ended.status).toBe(0)
  const unknown = 'exc_a_01890000000070008000000000000000'
  for (const command of ['receipt', 'explain']) {
    const { status, stdout, stderr } = await countersign(command, unknown)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain(`${unknown} is not on record here`)
    expect((await countersign(command, 'exc_1')).status).toBe(2)
  }
})

test('every place that shows the trust shows the same fingerprint', async () => {
  const origin = new URL(url).origin
  const { body, headers } = await curl(`${origin}/v1/trust`, '')
  const printed = headers['countersign-trust-fingerprint']
  expect(printed).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/)
  const document = join(dir, 'trust-document')
  writeFileSync(document, body)
  const verified = await countersign('verify', join(dir, 'slow'), '--trust', document, '--json')
  const { trustFingerprint } = JSON.parse(
    (await countersign('verify', join(dir, 'slow'), '--json')).stdout,
  ) as { readonly trustFingerprint: string }
  expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, trustFingerprint: printed })
  expect(trustFingerprint).toBe(printed)
  for (const command of [['status'], ['doctor']]) {
    expect((await countersign(...command)).stdout, command[0]).toContain(printed)
  }
})

test('another caller is denied, and the denial is explained', async () => {
  const made = await countersign('key', 'create', 'stranger')
  expect(made.stderr).toContain('stranger is a new agent: there was none of this name.')
  expect((await countersign('key', 'create', 'stranger')).stderr).not.toContain('new agent')
  const key = made.stdout.trim()
  const denied = await curl(url, key)
  expect(denied.status).toBe(403)
  const { status, stdout } = await countersign('explain', denied.exchange)
  expect(status).toBe(0)
  expect(stdout).toContain('Denied: agent "stranger" asks to call agent "echo"')
  expect(stdout).toContain('Policy "protect-echo"')
})

test('protect for a revoked caller names the option, and makes no route', async () => {
  await countersign('key', 'create', 'shop-caller')
  expect((await countersign('agent', 'revoke', 'shop-caller', '--reason', 'stolen')).status).toBe(0)
  const { status, stdout, stderr } = await countersign('protect', upstreamUrl, '--as', 'shop')
  expect({ status, stdout }).toEqual({ status: 4, stdout: '' })
  expect(stderr).toContain('shop-caller is revoked')
  expect(stderr).toContain('--caller')
  expect((await countersign('route', 'list')).stdout).not.toContain('shop')
})

test('a key is revoked by the whole of it, of which the secret part is not shown', async () => {
  const key = (await countersign('key', 'create', 'echo-caller')).stdout.trim()
  const { status, stdout } = await countersign('key', 'revoke', key)
  expect(status).toBe(0)
  expect(stdout).toBe(`key ${key.slice(4, 12)} is revoked\n`)
  expect((await curl(url, key)).status).toBe(401)
})

test('dead letters of an unknown channel are refused', async () => {
  const { status, stderr } = await countersign('channel', 'dead', 'nowhere')
  expect(status).toBe(4)
  expect(stderr).toContain('RECEIVER_UNKNOWN')
})

test('a refusal of the fabric ends with 4 and its code', async () => {
  const { status, stdout, stderr } = await countersign('agent', 'show', 'nobody')
  expect({ status, stdout }).toEqual({ status: 4, stdout: '' })
  expect(stderr).toContain('error: RECEIVER_UNKNOWN')
})

test('the operator lists, enrols, and takes a token', async () => {
  expect((await countersign('agent', 'enroll', 'planner')).stdout).toMatch(
    /^https:\/\/127\.0\.0\.1:\d+\/#[\w-]+\.[\w-]{43}\n$/,
  )
  const agents = JSON.parse((await countersign('agent', 'list', '--json')).stdout) as {
    name: string
  }[]
  expect(agents.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['operator', 'echo-caller', 'stranger']),
  )
  expect((await countersign('token')).stdout.split('.')).toHaveLength(3)
  expect(JSON.parse((await countersign('ledger', 'check', '--json')).stdout)).toMatchObject({
    entries: expect.any(Number),
  })
})

const columns = 80

/** The lines that a command prints on a terminal of 80 columns, without colours. */
async function linesOnTerminal(...args: readonly string[]): Promise<readonly string[]> {
  let written = ''
  const stdout = { isTTY: true, columns, write: (text: unknown) => void (written += String(text)) }
  const stderr = { write: () => undefined }
  expect(await run(args, { stdout, stderr })).toBe(0)
  return stripVTControlCharacters(written).trimEnd().split('\n')
}

test('every table fits a terminal of 80 columns, with one line for each row', async () => {
  const long = 'n'.repeat(60)
  for (const command of [
    ['agent', 'enroll', long, '--role', 'r'.repeat(40), '--segment', 's'.repeat(40)],
    ['protect', `${upstreamUrl}/${'p'.repeat(80)}`, '--as', 'protected', '--caller', `c-${long}`],
    ['channel', 'create', `ch-${long}`, '--member', 'operator'],
  ]) {
    const { status, stderr } = await countersign(...command)
    expect(status, stderr).toBe(0)
  }
  for (const command of ['agent list', 'route list', 'channel list', 'key list']) {
    const args = [...command.split(' '), '--data', data]
    const [head = '', ...rows] = await linesOnTerminal(...args)
    const listed = JSON.parse((await countersign(...command.split(' '), '--json')).stdout) as []
    expect(rows, command).toHaveLength(listed.length)
    expect([head, ...rows].filter((row) => displayWidth(row) > columns)).toEqual([])
  }
  const entries = await linesOnTerminal('ledger', 'recent', '--count', '50', '--data', data)
  expect(entries).toHaveLength(51)
  // Ids are copied, so that they are never cut.
  for (const row of entries.slice(1)) expect(row).toMatch(/exc_[a-z0-9]{1,2}_[0-9a-f]{32}$/)
  const found = await linesOnTerminal(
    ...['ledger', 'find', '--caller', 'operator', '--operation', 'agent.enroll'],
    ...['--result', 'delivered', '--since', '1h', '--data', data],
  )
  expect(found.length).toBeGreaterThan(1)
  for (const row of found) expect(displayWidth(row)).toBeLessThanOrEqual(columns)
  const none = await countersign('ledger', 'find', '--until', '2020-01-01T00:00:00Z', '--json')
  expect(JSON.parse(none.stdout)).toMatchObject({ exchanges: [], older: null })
  const unknown = await countersign('ledger', 'find', '--caller', 'nobody-of-this-name')
  expect(unknown.stderr).toContain('no agent or user is named nobody-of-this-name')
  expect(unknown.stderr).toContain('countersign agent list')
  expect(unknown.stderr).not.toContain('receiver')
  const codes = await linesOnTerminal('help', 'exit-codes')
  for (const row of [...entries, ...codes]) expect(displayWidth(row)).toBeLessThanOrEqual(columns)
})

test('routes are listed with their settings, in 80 columns and in full as JSON', async () => {
  const args = ['--timeout', '10s', '--resend'] as const
  const made = await countersign('protect', upstreamUrl, '--as', 'slow', '--replace', ...args)
  expect(made.status, made.stderr).toBe(0)
  const lines = await linesOnTerminal('route', 'list', '--data', data)
  expect(lines.filter((line) => displayWidth(line) > columns)).toEqual([])
  const shown = lines.slice(lines.indexOf('settings other than the defaults') + 1).join(' ')
  expect(shown).toMatch(/slow .*timeouts.exchangeMs: 10000,\s+retries.resend: true/)
  const listed = JSON.parse((await countersign('route', 'list', '--json')).stdout) as RouteView[]
  const settings = { timeouts: { exchangeMs: 10_000 }, retries: { resend: true } }
  expect(listed.find(({ name }) => name === 'slow')?.settings).toMatchObject(settings)
})

test('a second fabric on the same folder is refused', async () => {
  const { status, stderr } = await countersign('up', '--port', '0')
  expect(status).toBe(2)
  expect(stderr).toContain('already')
})

test('the folder is for its owner alone, and is no longer marked as running after a stop', async () => {
  for (const name of ['', 'operator', 'trust.json', 'fabric.json']) {
    expect(statSync(join(data, name)).mode & 0o077, name).toBe(0)
  }
  fabric.kill('SIGTERM')
  expect(await ended).toBe(0)
  expect((await countersign('status')).status).toBe(3)
})
