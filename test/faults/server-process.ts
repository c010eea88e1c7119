import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from '../tidy/source.ts'

export interface ServerOptions {
  readonly words: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** The fault that preload.mjs plants. */
  readonly fault?: string
  /** The command that the shell runs before it becomes the server, such as `ulimit -n 256`. */
  readonly before?: string
}

/** The end of a process: its exit code, or the signal that ended it. */
export type End = number | NodeJS.Signals

/**
 * A server as an operator starts it: a process of its own, whose output and end a test looks at.
 */
export class ServerProcess {
  readonly #child: ChildProcess
  readonly ended: Promise<End>
  stdout = ''
  stderr = ''

  /** Its output, in whichever order. */
  get output(): string {
    return this.stderr + this.stdout
  }

  constructor({ words, env = {}, fault, before = ':' }: ServerOptions) {
    const preload = join(root, 'test/faults/preload.mjs')
    const program = [
      ...[process.execPath, '--conditions=countersign-source'],
      ...(fault === undefined ? [] : ['--import', preload]),
      ...[join(root, 'packages/fabric/src/main.ts'), ...words],
    ]
    this.#child = spawn('sh', ['-c', `${before}; exec "$@"`, 'sh', ...program], {
      cwd: root,
      env: { ...process.env, ...env, FAULT: fault ?? '', UV_USE_IO_URING: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stdout?.on('data', (text) => {
      this.stdout += String(text)
    })
    this.#child.stderr?.on('data', (text) => {
      this.stderr += String(text)
    })
    this.ended = once(this.#child, 'close').then(([code, signal]) => (signal ?? code) as End)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Its readers go away, as those of `countersign up | head` do. */
  closePipes(): void {
    this.#child.stdout?.destroy()
    this.#child.stderr?.destroy()
  }

  /** Resolves with the facts of its ready line; rejects when it ends before. */
  async ready(): Promise<Readonly<Record<string, unknown>>> {
    const ended = this.ended.then((end) => Promise.reject(new Error(`${end}: ${this.stderr}`)))
    // Its end is of interest only until it is ready.
    ended.catch(() => undefined)
    const line = (): string | undefined =>
      this.stdout.split('\n').find((text) => text.includes('"event":"ready"'))
    for (;;) {
      const found = line()
      if (found !== undefined) return JSON.parse(found) as Readonly<Record<string, unknown>>
      await Promise.race([sleep(50), ended])
    }
  }

  /** Its end; fails the test, and ends the process, when that takes far too long. */
  async end(withinMs = 30_000): Promise<End> {
    const late = sleep(withinMs, null, { ref: false })
    const end = await Promise.race([this.ended, late])
    if (end !== null) return end
    this.signal('SIGKILL')
    throw new Error(`the process did not end within ${withinMs} ms: ${this.stderr}`)
  }
}
