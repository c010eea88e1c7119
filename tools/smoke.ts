import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/**
 * Installs what would be published, away from the sources, and runs the quick start from it: a file
 * that `files` forgot or a development dependency that the product needs shows only here.
 */
const root = path.resolve(import.meta.dirname, '..')
/** The server, and what it depends on. */
const SERVER = ['protocol', 'sdk', 'fabric'] as const
/** Installed next to the server afterwards; the command line loads it where it is installed. */
const DEMO = ['demo'] as const

/** The budget of the blueprint; the runtime itself is not counted, operators bring their own. */
const installedMegabytesMax = 45
const MEGABYTE = 1_000_000
const demoTimeoutMs = 120_000
const idleMegabytesMax = 150
/** Long enough for the garbage of the start to be collected. */
const settleMs = 8_000

interface Ran {
  readonly stdout: string
}

interface Where {
  readonly cwd: string
  readonly env?: NodeJS.ProcessEnv
  readonly timeout?: number
}

/** Throws with the output when the command fails, since nothing after it would mean anything. */
function run(command: string, args: readonly string[], where: Where): Ran {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    ...where,
  })
  if (status === 0) return { stdout }
  const why = error === undefined ? `exit code ${String(status)}` : error.message
  throw new Error(`${command} ${args.join(' ')}: ${why}\n${stdout}${stderr}`)
}

/** Builds from nothing: outputs of sources that are gone would be packed as well. */
function build(): void {
  for (const name of [...SERVER, ...DEMO, 'console']) {
    rmSync(path.join(root, 'packages', name, 'dist'), { recursive: true, force: true })
    rmSync(path.join(root, 'packages', name, 'tsconfig.tsbuildinfo'), { force: true })
  }
  run('npm', ['run', 'build'], { cwd: root })
}

function pack(folder: string, packages: readonly string[]): readonly string[] {
  const workspaces = packages.flatMap((name) => ['--workspace', `packages/${name}`])
  const before = new Set(readdirSync(folder))
  run('npm', ['pack', ...workspaces, '--pack-destination', folder], { cwd: root })
  return readdirSync(folder).filter((file) => file.endsWith('.tgz') && !before.has(file))
}

function install(folder: string, tarballs: readonly string[]): void {
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
  const dependencies = {
    ...Object.fromEntries(tarballs.map((file) => [nameOf(file), `file:${file}`])),
  }
  const { optionalDependencies } = manifest
  const app = { name: 'smoke', private: true, type: 'module', dependencies, optionalDependencies }
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify(app, null, 2))
  run('npm', ['install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
  })
}

/** `countersign-sdk-0.1.0.tgz` holds `@countersign/sdk`; `countersign-0.1.0.tgz` the server. */
function nameOf(tarball: string): string {
  const scoped = tarball.match(/^countersign-([a-z]+)-\d/)?.[1]
  return scoped === undefined ? 'countersign' : `@countersign/${scoped}`
}

/** The packages that were installed, without the runtime. */
function countPackages(folder: string): number {
  const lock = JSON.parse(readFileSync(path.join(folder, 'package-lock.json'), 'utf8'))
  const places = Object.keys(lock.packages).filter((place) => place !== '' && !isRuntime(place))
  return places.filter((place) => existsSync(path.join(folder, place))).length
}

const isRuntime = (place: string): boolean => /(?:^|\/)node-(?:linux|darwin|win)-/.test(place)

/** Bytes on disk, in whole blocks as the file system hands them out. */
function diskBytes(target: string): number {
  const found = lstatSync(target)
  const own = found.blocks * 512
  if (!found.isDirectory()) return own
  return readdirSync(target).reduce((sum, name) => sum + diskBytes(path.join(target, name)), own)
}

function installedBytes(folder: string): number {
  const modules = path.join(folder, 'node_modules')
  return readdirSync(modules)
    .filter((name) => !isRuntime(name) && name !== '.bin')
    .reduce((sum, name) => sum + diskBytes(path.join(modules, name)), 0)
}

/** Published code alone: the condition that runs sources must not leak in from the caller. */
function environment(folder: string): NodeJS.ProcessEnv {
  const bin = path.join(folder, 'node_modules/.bin')
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PATH: `${bin}${path.delimiter}${process.env['PATH'] ?? ''}`,
    XDG_CONFIG_HOME: path.join(folder, 'config'),
  }
  delete env['NODE_OPTIONS']
  return env
}

/** Throws unless the command line ends as documented where the demo is not installed. */
function demoIsMissing(folder: string): void {
  const command = path.join(folder, 'node_modules/.bin/countersign')
  const where = { cwd: folder, env: environment(folder), timeout: demoTimeoutMs }
  const { status, stderr } = spawnSync(command, ['demo'], { encoding: 'utf8', ...where })
  if (status === 2 && stderr.startsWith('error: the demo package @countersign/demo is not')) return
  throw new Error(`without its package, the demo ended with ${String(status)}:\n${stderr}`)
}

/** One JSON line a step and one at the end; each states whether it held, receipts included. */
function demo(folder: string): string {
  const home = path.join(folder, 'home')
  mkdirSync(home)
  const where = { cwd: home, env: environment(folder), timeout: demoTimeoutMs }
  const { stdout } = run(
    path.join(folder, 'node_modules/.bin/countersign'),
    ['demo', '--json'],
    where,
  )
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { ok?: boolean })
  const held = lines.filter(({ ok }) => ok === true).length
  if (lines.length < 2 || held !== lines.length)
    throw new Error(`the demo did not hold:\n${stdout}`)
  return `${held} of ${lines.length} lines held`
}

/** Returns the resident memory of an idle server once it has settled, as an operator sees it. */
async function idleMegabytes(folder: string): Promise<number> {
  const args = ['up', '--data', path.join(folder, 'idle'), '--port', '0', '--json']
  const server = spawn(path.join(folder, 'node_modules/.bin/countersign'), args, {
    env: environment(folder),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await new Promise((resolve, reject) => {
      server.stdout.once('data', resolve)
      server.once('exit', () => reject(new Error('the server ended')))
    })
    await new Promise((resolve) => setTimeout(resolve, settleMs))
    const status = readFileSync(`/proc/${server.pid}/status`, 'utf8')
    return (Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024) / MEGABYTE
  } finally {
    // The folder goes next: a server still closing its ledger would call that a broken disk.
    const ended = server.exitCode === null ? once(server, 'exit') : null
    server.kill('SIGTERM')
    await ended
  }
}

async function smoke(folder: string): Promise<void> {
  build()
  const server = pack(folder, SERVER)
  process.stdout.write(`packed ${server.join(', ')}\n`)
  install(folder, server)
  const megabytes = installedBytes(folder) / MEGABYTE
  const budget = `${megabytes.toFixed(1)} MB installed of ${installedMegabytesMax} MB`
  const packages = countPackages(folder)
  process.stdout.write(`${budget}, ${packages} packages (without the runtime)\n`)
  demoIsMissing(folder)
  const tarballs = pack(folder, DEMO)
  process.stdout.write(`packed ${tarballs.join(', ')}\n`)
  install(folder, [...server, ...tarballs])
  process.stdout.write(`with the demo: ${countPackages(folder)} packages\n`)
  process.stdout.write(`demo: ${demo(folder)}\n`)
  const resident = await idleMegabytes(folder)
  process.stdout.write(`idle: ${resident.toFixed(0)} MB resident of ${idleMegabytesMax} MB\n`)
  if (resident > idleMegabytesMax) throw new Error('too much memory for an idle server')
  if (megabytes > installedMegabytesMax) throw new Error(`too much to install: ${budget}`)
  process.stdout.write('smoke: the packed packages install and run\n')
}

const folder = mkdtempSync(path.join(tmpdir(), 'countersign-smoke-'))
try {
  await smoke(folder)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
