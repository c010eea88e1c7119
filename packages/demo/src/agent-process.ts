import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Command, CommandResult, Commands } from './commands.ts'

/** One agent in a process of its own. */
export interface AgentProcess<Known extends Commands> {
  readonly pid: number
  /** Runs one command; rejects with its failure there, or when no result comes in time. */
  send<Name extends keyof Known & string>(
    name: Name,
    ...args: Parameters<Known[Name]>
  ): Promise<Awaited<ReturnType<Known[Name]>>>
  /** Asks it to end, and kills it after a moment. Resolves when the process is gone. */
  stop(): Promise<void>
}

/** Enrolling takes a few round trips; an agent that needs longer hangs. */
const resultMsMax = 60_000
/** Maximum time for an agent to withdraw its endpoint before it is killed. */
const stopMsMax = 2_500
/** Bounds the output of a process that is quoted when it fails; the reason is at its end. */
const outputCharactersMax = 2_000

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (cause: Error) => void
  readonly timer: NodeJS.Timeout
}

/** Starts `file` under this very runtime with the same import conditions. */
export function startAgentProcess<Known extends Commands>(
  name: string,
  file: URL,
): AgentProcess<Known> {
  const child = fork(file, { serialization: 'advanced', stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  const pending = new Map<number, Pending>()
  const output = collectOutput(child)
  let lastId = 0
  const settle = (id: number): Pending | undefined => {
    const waiting = pending.get(id)
    pending.delete(id)
    if (waiting !== undefined) clearTimeout(waiting.timer)
    return waiting
  }
  child.on('message', (result: CommandResult) => {
    const waiting = settle(result.id)
    if ('fault' in result) waiting?.reject(new Error(`${name}: ${result.fault}`))
    else waiting?.resolve(result.value)
  })
  const fail = (why: string): void => {
    for (const id of [...pending.keys()]) settle(id)?.reject(new Error(`${name} ${why}`))
  }
  child.once('error', (error) => fail(`could not be started: ${error.message}`))
  child.once('exit', (code, signal) => fail(`ended (${signal ?? code}). ${output()}`.trim()))
  return {
    pid: child.pid ?? 0,
    send(command, args?: unknown) {
      const id = ++lastId
      return new Promise((resolve, reject) => {
        if (!child.connected) return reject(new Error(`${name} is not running. ${output()}`))
        const timer = setTimeout(() => {
          settle(id)?.reject(new Error(`${name} did not ${command} within ${resultMsMax} ms`))
        }, resultMsMax)
        pending.set(id, { resolve: resolve as Pending['resolve'], reject, timer })
        child.send({ id, name: command, args } satisfies Command)
      })
    },
    stop: () => stop(child),
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const gone = once(child, 'exit')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax)
  child.kill('SIGTERM')
  await gone
  clearTimeout(timer)
}

/** Its output is read, so that it never blocks on a full pipe, and quoted when it fails. */
function collectOutput(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text = (text + chunk).slice(-outputCharactersMax)
    })
  }
  return () => text.trim()
}
