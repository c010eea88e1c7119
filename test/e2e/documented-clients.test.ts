import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorld, type World } from '../harness/world.ts'
import { read, root } from '../tidy/source.ts'
import { createPace, openA2aAgent, openMcpAgent, type Upstream } from './upstreams.ts'

/** The programs of docs/clients.md, each run as a reader copies it. */
const guide = 'docs/clients.md'

const POLICY = `
permit(
  principal == Agent::"planner",
  action == Action::"call",
  resource
) when { ["billing", "tools"].contains(resource.name) };`

interface Program {
  readonly language: string
  readonly text: string
}

const programs: readonly Program[] = [...read(guide).matchAll(/^```(\w+)\n([^]*?)^```$/gm)]
  .map(([, language = '', text = '']) => ({ language, text }))
  .filter(({ language }) => language !== 'text')

/** By the language of a block; the programs of a machine without one are skipped. */
const interpreters: Readonly<Record<string, readonly [command: string, file: string]>> = {
  bash: ['bash', 'client.sh'],
  python: ['python3', 'client.py'],
  ts: [process.execPath, 'client.ts'],
}

let world: World
let key = ''
let folder = ''
const upstreams: Upstream[] = []

beforeAll(async () => {
  world = await openWorld()
  const billing = await openA2aAgent(createPace())
  const tools = await openMcpAgent(createPace())
  upstreams.push(billing, tools)
  await world.admin('route.put', { name: 'billing', upstream: billing.url, protocol: 'a2a' })
  await world.admin('route.put', { name: 'tools', upstream: tools.url, protocol: 'mcp' })
  await world.admin('policy.put', { name: 'clients.cedar', text: POLICY })
  const order = { agent: 'planner', ttlSeconds: 600 }
  key = ((await world.admin('key.create', order)) as { key: string }).key
  folder = join(world.dir, 'clients')
  mkdirSync(join(folder, '.countersign'), { recursive: true })
  writeFileSync(join(folder, '.countersign/ca.pem'), world.fabric.rootPem)
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
})

afterAll(async () => {
  await world.close()
  for (const upstream of upstreams) await upstream.close()
})

/** Returns the standard output of a program; `roots` names the file that Node trusts. */
async function runProgram({ language, text }: Program, roots: NodeJS.ProcessEnv): Promise<string> {
  const [command, file] = interpreters[language] ?? ['false', 'client']
  writeFileSync(join(folder, file), text.replaceAll('https://127.0.0.1:8443', world.fabric.origin))
  const { stdout } = await promisify(execFile)(command, [file], {
    cwd: folder,
    env: { ...process.env, KEY: key, ...roots },
  })
  return stdout
}

const isInstalled = (command: string): boolean =>
  command.startsWith('/') ||
  (process.env['PATH'] ?? '').split(delimiter).some((dir) => existsSync(join(dir, command)))

const isRunnable = ({ language }: Program): boolean =>
  isInstalled((interpreters[language] ?? [''])[0]) && (language !== 'bash' || isInstalled('curl'))

const named = programs.map((program, index) => ({
  ...program,
  title: `${index + 1}: ${program.language}`,
}))

test('the guide has a program for each kind of client', () => {
  expect(programs.map(({ language }) => language)).toEqual(['bash', 'ts', 'ts', 'python'])
})

test.each(named.filter(isRunnable))('program $title receives the answer', async (program) => {
  const roots = { NODE_EXTRA_CA_CERTS: join(folder, '.countersign/ca.pem') }
  expect(await runProgram(program, roots)).toContain('heard: hello')
})

test('the TypeScript programs fail without the root certificate, as the guide states', async () => {
  for (const program of programs.filter(({ language }) => language === 'ts')) {
    await expect(runProgram(program, {})).rejects.toThrow('unable to get local issuer certificate')
  }
  expect(read(guide)).toContain('`unable to get local issuer certificate`')
})
