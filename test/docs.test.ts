import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { request } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { run } from '../packages/fabric/src/cli/run.ts'
import { OPERATION_NAMES } from '../packages/fabric/src/compose/operation-names.ts'
import { parseConfig } from '../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../packages/fabric/src/config/read.ts'
import { configJsonSchema, configSchema } from '../packages/fabric/src/config/schema.ts'
import { OPERATORS_DEFAULT } from '../packages/fabric/src/redaction/detectors/operators.ts'
import { DATA_CLASSES } from '../packages/fabric/src/redaction/redactor.ts'
import { guideFile, schemaFile, withTable } from '../tools/write-schema.ts'
import { exists, files, read, root } from './tidy/source.ts'

/**
 * The documents whose commands readers copy into a terminal; the other documents only mention
 * commands.
 */
const guides = files.filter((file) =>
  /^(README\.md|docs\/[\w-]+\.md|docs\/operate\/.+\.md)$/.test(file),
)

interface Fence {
  readonly file: string
  readonly language: string
  readonly text: string
}

function fencesOf(file: string): readonly Fence[] {
  return [...read(file).matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map(
    ([, language = '', text = '']) => ({ file, language, text }),
  )
}

/**
 * The commands of a block: all lines of `sh`, those after a prompt, and those that begin with ours.
 */
function commandsOf({ language, text }: Fence): readonly string[] {
  const lines = text.replaceAll('\\\n', ' ').split('\n')
  const commands =
    language === 'sh'
      ? lines.filter((line) => line.trim() !== '' && !line.startsWith('#'))
      : lines.flatMap((line) => {
          if (language === 'console') return line.startsWith('$ ') ? [line.slice(2)] : []
          return language === '' && /^(countersign|npm) /.test(line) ? [line] : []
        })
  // The text after two spaces explains the command.
  return commands.map((line) => line.replace(/ {2,}.*$/, '').trim())
}

const inCheckout = /^npm run countersign -- /

const documented = guides.flatMap((file) =>
  fencesOf(file)
    .flatMap(commandsOf)
    .map((line) => ({ file, line, command: line.replace(inCheckout, 'countersign ') })),
)

/** Commands that another test carries out; `says` is the text that shows it there. */
const elsewhere: readonly {
  readonly command: string
  readonly by: string
  readonly says: string
}[] = [
  { command: 'npm ci', by: '.ci/run', says: 'npm ci' },
  { command: 'npm run build', by: 'tools/smoke.ts', says: "run('npm', ['run', 'build']" },
  { command: 'mkdir -p ../packed', by: 'tools/smoke.ts', says: 'mkdtempSync(' },
  {
    command:
      'npm pack --workspace packages/protocol --workspace packages/sdk --workspace packages/fabric --pack-destination ../packed',
    by: 'tools/smoke.ts',
    says: "run('npm', ['pack', ...workspaces, '--pack-destination', folder]",
  },
  {
    command: 'npm install ../packed/countersign-*.tgz',
    by: 'tools/smoke.ts',
    says: "run('npm', ['install', ",
  },
  { command: 'npx countersign up', by: 'tools/smoke.ts', says: "const args = ['up', " },
  {
    command: 'countersign up',
    by: 'packages/fabric/src/cli/commands/up.test.ts',
    says: "main, 'up'",
  },
  {
    command: 'countersign agent revoke mallory --reason "left"',
    by: 'test/engines/erasure.test.ts',
    says: "one.admin('agent.revoke', { name: 'leaver', reason: ",
  },
  {
    command: 'countersign erase --subject mallory',
    by: 'test/engines/erasure.test.ts',
    says: "command(0, 'erase', '--subject', ",
  },
  ...['8443', '8444'].map((port) => ({
    command: `countersign up --replica --port ${port}`,
    by: 'test/harness/replicas.ts',
    says: "'up', '--replica', '--port', '0'",
  })),
]

const home = mkdtempSync(join(tmpdir(), 'countersign-docs-'))
const data = join(home, 'data')
const before = { cwd: process.cwd(), env: { ...process.env } }
/** Values that the examples call by name: the exchange that they are about, and the listeners. */
const known = { exchange: '', upstream: '', origin: '' }

const upstream = createServer((received, response) => {
  received.resume()
  response.setHeader('content-type', 'application/json').end('{"ok":true}')
})
let started: ChildProcess | null = null

/** The two commands of the README, with a folder and a port that are free. */
async function npmStart(): Promise<ChildProcess> {
  // A free one: 0 would do for the fabric, but what stands in the documents is a fixed one.
  const probe = createTcpServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  const words = ['start', '--silent', '--', '--port', String(port), '--data', data]
  const child = spawn('npm', words, {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr.on('data', (text) => {
    complaint += String(text)
  })
  while (!existsSync(join(data, 'demo-done'))) {
    if (child.exitCode !== null) throw new Error(`npm start ended: ${complaint}`)
    await sleep(100)
  }
  return child
}

interface Told {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** `command` as it is documented, with its examples of names replaced by what is there. */
function wordsOf(command: string): readonly string[] {
  return command
    .replace(/"\$EXCHANGE"|\bexc_a_0197[0-9a-f]{28}\b/g, known.exchange)
    .replace(/http:\/\/(?:localhost|127\.0\.0\.1):9\d{3}/g, known.upstream)
    .replace('https://127.0.0.1:8443', known.origin)
    .split(/\s+/)
}

async function carryOut(command: string): Promise<Told> {
  const told = { stdout: '', stderr: '' }
  const screen = (to: 'stdout' | 'stderr') => ({
    write: (text: string | Uint8Array) => {
      told[to] += String(text)
    },
  })
  const [, ...words] = wordsOf(command)
  const status = await run(words, { stdout: screen('stdout'), stderr: screen('stderr') })
  return { status, ...told }
}

/** Does what `curl --cacert <file> <url>` does, without a curl on the machine. */
async function get(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number; readonly exchange: string; readonly text: string }> {
  const out = request(url, { ca: readFileSync(join(data, 'ca.pem')), headers, agent: false })
  out.end()
  const [response] = await once(out, 'response')
  let text = ''
  for await (const chunk of response) text += String(chunk)
  const exchange = String(response.headers['countersign-exchange'] ?? '')
  return { status: Number(response.statusCode), exchange, text }
}

async function protect(command: string): Promise<void> {
  const { status, stdout, stderr } = await carryOut(`${command} --json`)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const { url, key } = JSON.parse(stdout) as { url: string; key: string }
  const answer = await get(url, { 'x-api-key': key })
  expect(answer).toMatchObject({ status: 200, text: '{"ok":true}' })
  known.exchange = answer.exchange
  known.origin = new URL(url).origin
}

/** Goes on until it is interrupted, so it runs as a program of its own. */
async function watch(command: string): Promise<void> {
  const main = join(root, 'packages/fabric/src/main.ts')
  const [, ...words] = wordsOf(command)
  const child = spawn(process.execPath, ['--conditions=countersign-source', main, ...words], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const seen = once(child.stdout, 'data')
  // The watch shows every request, but does not report that it has begun.
  while ((await Promise.race([seen, sleep(200)])) === undefined)
    await look('countersign status', [0])
  child.kill('SIGINT')
  expect(await once(child, 'exit')).toEqual([0, null])
}

/** Carried out here, in this order, by the words that the documents use. */
const here: readonly (readonly [command: string, how: (command: string) => Promise<void>])[] = [
  ['npm start', () => Promise.resolve(expect(started?.exitCode).toBe(null))],
  ['countersign protect http://localhost:9999 --as billing', protect],
  ['countersign protect http://127.0.0.1:9000 --as billing', protect],
  ['countersign explain "$EXCHANGE"', says('protect-billing')],
  ['countersign receipt "$EXCHANGE" --out call.receipt', says('')],
  ['countersign verify call.receipt --trust .countersign/trust.json', verifyOwn],
  ['countersign receipt "$EXCHANGE" --out exchange.receipt', says('')],
  ['countersign verify exchange.receipt --trust trust.json', verifyPinned],
  ['countersign receipt exc_a_0197b0d2c00070008000000000000a0a --out payment.receipt', says('')],
  ['countersign verify payment.receipt --trust trust.json', verifyPinned],
  ['countersign agent enroll planner --role planner', says('https://127.0.0.1:')],
  ['countersign key create planner --ttl 30d', says('csk_')],
  ['countersign policy check', says('')],
  ['curl --cacert ca.pem https://127.0.0.1:8443/log/checkpoint', fetchCheckpoint],
  // Its port is not the one of the configuration, which another process may hold.
  ['countersign doctor', (command) => look(command, [0, 1])],
  ['countersign status', says('countersign.local')],
  ['countersign ledger recent', says('billing-caller')],
  [
    'countersign ledger find --caller billing-caller --result delivered --since 7d',
    says('billing-caller'),
  ],
  [
    'countersign ledger find --tool refund --until 2026-11-29T03:00:00Z --limit 500 --json',
    says('"exchanges"'),
  ],
  ['countersign activity', says('billing-caller')],
  ['countersign activity --window day --name billing', says('billing-caller')],
  ['countersign activity --watch', watch],
  ['countersign ledger watch', watch],
  ['countersign agent list', says('billing-caller')],
  ['countersign console', says('/console#key=csk_')],
  ['countersign ledger check', says('sound')],
  ['countersign ledger prune --dry-run', says('none: every entry is kept')],
  [
    'countersign ledger compare kept.checkpoint https://127.0.0.1:8443/log/ --trust trust.json --ca ca.pem',
    compareKept,
  ],
  ['countersign backup copy', says('backed up')],
  ['countersign restore copy --data restored --newest kept.checkpoint', says('none lost')],
]

function says(text: string): (command: string) => Promise<void> {
  return (command) => look(command, [0], text)
}

async function look(command: string, statuses: readonly number[], text = ''): Promise<void> {
  const { status, stdout, stderr } = await carryOut(command)
  expect(statuses, stderr).toContain(status)
  expect(stdout).toContain(text)
}

async function verifyOwn(command: string): Promise<void> {
  mkdirSync('.countersign', { recursive: true })
  writeFileSync('.countersign/trust.json', readFileSync(join(data, 'trust.json')))
  await look(command, [0])
}

async function verifyPinned(command: string): Promise<void> {
  writeFileSync('trust.json', readFileSync(join(data, 'trust.json')))
  await look(command, [0])
}

async function fetchCheckpoint(command: string): Promise<void> {
  const { status, text } = await get(wordsOf(command).at(-1) ?? '')
  expect(status).toBe(200)
  expect(text.split('\n')[0]).toBe('countersign.local/ledger/a')
}

async function compareKept(command: string): Promise<void> {
  writeFileSync('kept.checkpoint', (await get(wordsOf(command)[4] + 'checkpoint')).text)
  writeFileSync('ca.pem', readFileSync(join(data, 'ca.pem')))
  writeFileSync('trust.json', readFileSync(join(data, 'trust.json')))
  await look(command, [0], 'countersign.local/ledger/a')
}

describe('documented commands', () => {
  test('each is carried out here, or by a test that is named', () => {
    const verified = new Set([
      ...here.map(([command]) => command),
      ...elsewhere.map(({ command }) => command),
    ])
    const unverified = documented.filter(({ command }) => !verified.has(command))
    expect(unverified.map(({ file, line }) => `${file}: ${line}`)).toEqual([])
  })

  test('none is verified that no document has any more', () => {
    const shown = new Set(documented.map(({ command }) => command))
    const stale = [...here.map(([command]) => command), ...elsewhere.map(({ command }) => command)]
    expect(stale.filter((command) => !shown.has(command))).toEqual([])
  })

  test.each(elsewhere)('$command is carried out by $by', ({ by, says: text }) => {
    expect(exists(by) ? read(by) : '').toContain(text)
  })
})

describe('documented commands, on a fabric that npm start left running', () => {
  beforeAll(async () => {
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    const { port } = upstream.address() as AddressInfo
    known.upstream = `http://127.0.0.1:${port}`
    Object.assign(process.env, {
      COUNTERSIGN_DATA: data,
      XDG_CONFIG_HOME: join(home, 'config'),
      NO_COLOR: '1',
    })
    started = await npmStart()
    process.chdir(home)
  })

  afterAll(async () => {
    process.chdir(before.cwd)
    process.env = before.env
    upstream.close()
    upstream.closeAllConnections()
    if (started?.pid !== undefined && started.exitCode === null) {
      const ended = once(started, 'exit')
      process.kill(-started.pid, 'SIGTERM')
      await ended
    }
    rmSync(home, { recursive: true, force: true })
  })

  test.each(here)('%s', (command, how) => how(command))
})

describe('documented programs', () => {
  test('those of the README are taken from an example that runs', () => {
    const text = read('README.md')
    const quoted = [...text.matchAll(/<!-- (examples\/[\w.-]+)#([\w-]+) -->\n```ts\n([^]*?)```/g)]
    expect(quoted).toHaveLength(
      fencesOf('README.md').filter(({ language }) => language === 'ts').length,
    )
    expect(quoted.length).toBeGreaterThan(0)
    for (const [, file = '', name = '', code = ''] of quoted) {
      expect(code).not.toBe('')
      expect(read(file)).toContain(`// docs:${name}\n${code}// docs:end\n`)
    }
  })
})

describe('documented configuration', () => {
  // To mend the first two: node --conditions=countersign-source tools/write-schema.ts
  test('the published schema is that of the parser', () => {
    expect(JSON.parse(readFileSync(schemaFile, 'utf8'))).toEqual(configJsonSchema())
  })

  test('the table of keys is that of the parser', () => {
    const guide = readFileSync(guideFile, 'utf8')
    expect(guide).toBe(withTable(guide))
  })

  test('the table has a row for each key of a setting with alternatives', () => {
    const table = readFileSync(guideFile, 'utf8')
    expect(table).toMatch(
      /^\| `masterKey\.from` \| `key-file`, `passphrase-file`, `environment`, `keyring` \|/m,
    )
    expect(table).toMatch(/^\| `masterKey\.path` \| text \|/m)
  })

  test('the defaults of the table are those that are in force', () => {
    const rows = [...readFileSync(guideFile, 'utf8').matchAll(/^\| `([\w.]+)` \|.*\| `(.+)` \|/gm)]
    expect(rows.length).toBeGreaterThan(10)
    const config: unknown = configSchema.parse({})
    for (const [, key = '', text = ''] of rows)
      expect(valueAt(config, key), key).toEqual(JSON.parse(text))
  })

  test('the example is accepted, and refused with one key that is not in the table', () => {
    const [example] = fencesOf('docs/operate/configure.md').filter(
      ({ language }) => language === 'yaml',
    )
    const text = example?.text ?? ''
    const parse = (body: string) =>
      parseConfig({ path: 'the example', text: body }, readEnvironment())
    expect(parse(text).agents['billing']?.segment).toBe('finance')
    for (const path of ['', 'listen', 'limits', 'masterKey', 'agents.billing']) {
      const value = parseYaml(text) as Record<string, unknown>
      const at = path === '' ? value : (valueAt(value, path) ?? (value[path] = {}))
      Object.assign(at, { surprise: 1 })
      expect(() => parse(JSON.stringify(value)), path).toThrow('surprise')
    }
  })
})

function valueAt(value: unknown, key: string): unknown {
  return key
    .split('.')
    .reduce<unknown>((inner, name) => (inner as Record<string, unknown> | undefined)?.[name], value)
}

describe('documented policy', () => {
  /** The cells of the rows of docs/policy.md that follow this head. */
  function rowsUnder(head: string): readonly (readonly string[])[] {
    const [, after = ''] = read('docs/policy.md').split(`\n${head}\n`)
    const [table = ''] = after.split('\n\n')
    const rows = table.split('\n').filter((line) => !/^[|-]+$/.test(line))
    return rows.map((line) =>
      line
        .split('|')
        .map((cell) => cell.trim())
        .slice(1, -1),
    )
  }

  const namesIn = (cell = ''): readonly string[] =>
    [...cell.matchAll(/`"?([^`"]+)"?`/g)].map(([, name = '']) => name)

  test('the table of operations is that of the warnings', () => {
    const documented = rowsUnder('| Protocol | Action | Operations |').flatMap(
      ([protocol, actions, operations]) =>
        namesIn(actions).map((action) => [...namesIn(protocol), action, namesIn(operations)]),
    )
    const known = Object.entries(OPERATION_NAMES.of).flatMap(([protocol, actions]) =>
      Object.entries(actions).map(([action, operations]) => [protocol, action, operations]),
    )
    expect(documented).toEqual(known)
    for (const name of OPERATION_NAMES.named)
      expect(read('docs/policy.md')).toContain(`\`"${name}"\``)
  })

  test('the table of data classes is that of the detectors, with the form of each mask', () => {
    const rows = rowsUnder('| Class | Finds | Masked as |')
    expect(rows.flatMap(([name]) => namesIn(name))).toEqual(DATA_CLASSES)
    const ends = { mask: ' *', hash: ':', replace: ']', redact: '' } as const
    for (const [at, dataClass] of DATA_CLASSES.entries()) {
      const marker = namesIn(rows[at]?.[2])[0] ?? ''
      const start = `[${dataClass.toUpperCase()}${ends[OPERATORS_DEFAULT[dataClass]]}`
      expect(marker.slice(0, start.length)).toBe(start)
    }
  })
})

describe('decisions', () => {
  test('every decision stands in the index', () => {
    const pages = files.flatMap(
      (file) => file.match(/^docs\/decisions\/(\d{4}-.+\.md)$/)?.[1] ?? [],
    )
    const index = read('docs/decisions/README.md')
    expect(pages.filter((page) => !index.includes(`](${page})`))).toEqual([])
  })

  test('every package that an installation brings states what it replaces', () => {
    const table = read('docs/decisions/dependencies.md')
    const names = ['protocol', 'sdk', 'fabric'].flatMap((name) => {
      const { dependencies = {}, peerDependencies = {} } = JSON.parse(
        read(`packages/${name}/package.json`),
      )
      return Object.keys({ ...dependencies, ...peerDependencies })
    })
    const missing = names.filter(
      (name) => !name.startsWith('@countersign/') && !table.includes(`\`${name}\``),
    )
    expect(missing).toEqual([])
  })
})
