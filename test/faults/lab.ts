import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { root } from '../tidy/source.ts'
import { type ServerOptions, ServerProcess } from './server-process.ts'

/**
 * The parts that all labs of a run share: a data folder that was used and stopped, and the library
 * of faults.
 */
export interface Seed {
  readonly dir: string
  readonly library: string
}

export async function plantSeed(): Promise<Seed> {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-faults-'))
  const library = join(dir, 'faulty-calls.so')
  const source = join(root, 'test/faults/faulty-calls.c')
  const built = spawnSync('cc', ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl'])
  if (built.status !== 0) throw new Error(`no library of faults: ${String(built.stderr)}`)
  const seed = { dir, library }
  const lab = new Lab(seed, dir)
  const fabric = lab.start()
  await fabric.ready()
  await lab.command('agent', 'enroll', 'seed')
  fabric.signal('SIGTERM')
  if ((await fabric.end()) !== 0) throw new Error(`the seed did not stop: ${fabric.stderr}`)
  return seed
}

/** One data folder with a server, and the means to break both. */
export class Lab {
  readonly dir: string
  readonly data: string
  readonly #seed: Seed
  readonly #servers: ServerProcess[] = []
  readonly #undo: (() => void)[] = []

  static open(seed: Seed): Lab {
    const dir = mkdtempSync(join(tmpdir(), 'countersign-fault-'))
    const lab = new Lab(seed, dir)
    cpSync(join(seed.dir, 'data'), lab.data, { recursive: true })
    cpSync(join(seed.dir, 'master.key'), join(dir, 'master.key'))
    return lab
  }

  constructor(seed: Seed, dir: string) {
    this.#seed = seed
    this.dir = dir
    this.data = join(dir, 'data')
    this.configure()
  }

  /** Further lines of its configuration file. */
  configure(more: object = {}): void {
    const masterKey = { from: 'key-file', path: join(this.dir, 'master.key') }
    writeFileSync(this.#config, JSON.stringify({ masterKey, ...more }))
  }

  get #config(): string {
    return join(this.dir, 'countersign.yaml')
  }

  get #common(): readonly string[] {
    return ['--data', this.data, '--config', this.#config]
  }

  start(options: Partial<ServerOptions> = {}): ServerProcess {
    const words = ['up', '--json', '--port', '0', ...(options.words ?? []), ...this.#common]
    return this.#spawn({ ...options, words })
  }

  connect(options: Partial<ServerOptions> = {}): ServerProcess {
    const words = ['connect', '--json', '--as', 'caller', ...(options.words ?? []), ...this.#common]
    return this.#spawn({ ...options, words })
  }

  #spawn(options: ServerOptions): ServerProcess {
    const { library } = this.#seed
    const env = existsSync(library)
      ? { LD_PRELOAD: library, FAULTY_RULES: this.path('rules'), ...options.env }
      : options.env
    const server = new ServerProcess({ ...options, ...(env === undefined ? {} : { env }) })
    this.#servers.push(server)
    return server
  }

  /** A command of the operator on the running fabric; resolves to its exit code. */
  command(...words: readonly string[]): Promise<number> {
    const silent = { write: () => undefined }
    return run([...words, ...this.#common], { stdout: silent, stderr: silent })
  }

  path(...names: readonly string[]): string {
    return join(this.dir, ...names)
  }

  /** From now on system calls fail: `<call> <errno> <part of the path>`. */
  failCalls(...rules: readonly string[]): void {
    writeFileSync(this.path('rules.new'), rules.map((rule) => `${rule}\n`).join(''))
    spawnSync('mv', [this.path('rules.new'), this.path('rules')])
  }

  /** An entry in the ledger, without any client: policies that change are on record. */
  writeEntry(): void {
    try {
      appendFileSync(join(this.data, 'policies', 'zz-note.cedar'), '// a note\n')
    } catch {
      // The disk is full for us as well.
    }
  }

  /** Puts the data folder onto a file system of its own, which can fill up. */
  mountData(size: string): void {
    const kept = this.path('kept')
    cpSync(this.data, kept, { recursive: true })
    rmSync(this.data, { recursive: true })
    mkdirSync(this.data, { mode: 0o700 })
    this.mount('-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', this.data)
    cpSync(kept, this.data, { recursive: true })
    this.#undo.push(() => spawnSync('umount', ['-l', this.data]))
  }

  mount(...words: readonly string[]): void {
    const { status, stderr } = spawnSync('mount', words)
    if (status !== 0) throw new Error(`mount: ${String(stderr)}`)
  }

  fill(): void {
    const file = join(this.data, 'fill')
    spawnSync('dd', ['if=/dev/zero', `of=${file}`, 'bs=1M'])
  }

  close(): void {
    for (const server of this.#servers) server.signal('SIGKILL')
    for (const undo of this.#undo) undo()
    rmSync(this.dir, { recursive: true, force: true })
  }
}
