import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { InviteRequest } from '../../packages/fabric/src/admin/ports.ts'
import type { Answer, Question } from './fabric-process.ts'
import type { SeededRandom } from './seeded-random.ts'

/**
 * Generous: on a busy machine with a large ledger a start may take a while, and is still a start.
 */
const readyMsMax = 60_000
const stderrCharsMax = 16_384

/** The fabric refused to run, or ended by itself: the one thing that no crash may lead to. */
export class FabricEnded extends Error {
  override readonly name = 'FabricEnded'
}

export interface HostOptions {
  /** Holds the data folder and, next to it, the master key: everything that the fabric writes. */
  readonly root: string
  readonly port: number
  readonly power: Power | null
  /** The section `limits` of its configuration, where it is not that of the crash test. */
  readonly limits?: string
}

/** The effect of a power failure on the files of the fabric. */
export interface Power {
  /** Set for the child alone; asked for anew for each life. */
  environment(): Readonly<Record<string, string>>
  /** After each death, orderly or not, before the next life. */
  fail(): void
}

/** One fabric over all its lives: always the same folder and port, each time another process. */
export class FabricHost {
  readonly #options: HostOptions
  #child: ChildProcess | null = null
  #stderr = ''

  /** Replaced for an experiment in which syncs do nothing, for one life. */
  power: Power | null

  constructor(options: HostOptions) {
    this.#options = options
    this.power = options.power
  }

  get origin(): string {
    return `https://127.0.0.1:${this.#options.port}`
  }

  /** Of the present life. */
  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** The end of the output of the present, or else the last, life. */
  get said(): string {
    return this.#stderr
  }

  /**
   * Resolves when it serves. Throws FabricEnded, with its output, when it does not come to that.
   */
  async start(): Promise<void> {
    const child = this.spawn()
    const answer = await this.#answerOf(child).catch((cause: unknown) => {
      this.#child = null
      child.kill('SIGKILL')
      throw cause
    })
    if (!('ready' in answer)) throw new FabricEnded('the fabric said something else than ready')
  }

  /** Starts it without waiting, to be killed while it starts. */
  spawn(): ChildProcess {
    if (this.#child !== null) throw new TypeError('the fabric runs already')
    const { root, port, limits } = this.#options
    const args = [root, String(port), ...(limits === undefined ? [] : [limits])]
    const child = fork(new URL('./fabric-process.ts', import.meta.url), args, {
      execArgv: ['--conditions=countersign-source', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, ...this.power?.environment() },
    })
    this.#child = child
    this.#stderr = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-stderrCharsMax)
    })
    return child
  }

  /** No signal is further from an orderly end. */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === null) return
    this.#child = null
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    this.power?.fail()
    // An orderly end was asked for; any other before the signal is a defect.
    if (child.signalCode !== 'SIGKILL' && child.exitCode !== 0) throw this.#ended(child)
  }

  /** Asks for an orderly end, and waits `patienceMs` for it at most; then `kill` comes. */
  async stop(patienceMs: number): Promise<void> {
    const child = this.#child
    if (child === null) return
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    await Promise.race([exited, sleep(patienceMs, undefined, { ref: false })])
    await this.kill()
  }

  async invite(order: InviteRequest): Promise<string> {
    const child = this.#child
    if (child === null) throw new TypeError('the fabric does not run')
    const answer = this.#answerOf(child)
    child.send({ invite: order } satisfies Question)
    const said = await answer
    if ('invitation' in said) return said.invitation
    throw new FabricEnded(`no invitation: ${JSON.stringify(said)}`)
  }

  #answerOf(child: ChildProcess): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer)
        child.off('exit', onExit)
        child.off('message', onMessage)
        act()
      }
      const onExit = () => settle(() => reject(this.#ended(child)))
      const onMessage = (message: unknown) => settle(() => resolve(message as Answer))
      const timer = setTimeout(
        () => settle(() => reject(new FabricEnded(`no answer in ${readyMsMax} ms`))),
        readyMsMax,
      )
      child.once('exit', onExit)
      child.once('message', onMessage)
    })
  }

  #ended({ exitCode, signalCode }: ChildProcess): FabricEnded {
    return new FabricEnded(
      `the fabric ended with ${String(exitCode ?? signalCode)}, and said:\n${this.#stderr}`,
    )
  }
}

/**
 * A port below the ephemeral range: while the fabric is down, clients dial it again and again, and
 * the kernel could give one of them that very port as its own, so that it reaches itself.
 */
export async function findFreePort(random: SeededRandom): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = random.between(20_000, 30_000)
    const server = createServer().listen(port, '127.0.0.1')
    const free = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ])
    server.close()
    if (free) return port
  }
  throw new Error('no free port')
}
