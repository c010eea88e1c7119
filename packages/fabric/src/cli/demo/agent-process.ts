import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Order, OrderAnswer, Orders } from './orders.ts'

/** One agent in a process of its own. */
export interface AgentProcess<Known extends Orders> {
  readonly pid: number
  /** Carries out one order; rejects with what failed there, or when nothing comes in time. */
  order<Name extends keyof Known & string>(
    name: Name,
    ...args: Parameters<Known[Name]>
  ): Promise<Awaited<ReturnType<Known[Name]>>>
  /** Lets it end by itself for a moment, then kills it. Resolves when the process is gone. */
  stop(): Promise<void>
}

/** Enrolling takes a few round trips; an agent that needs longer hangs. */
const answerMsMax = 60_000
/** Maximum time for an agent to withdraw its endpoint before it is killed. */
const goodbyeMsMax = 2_500
/** Of what a process wrote before it failed; the end of it holds the reason. */
const complaintCharactersMax = 2_000

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (cause: Error) => void
  readonly timer: NodeJS.Timeout
}

/** Starts `file` under this very runtime with the same import conditions. */
export function startAgentProcess<Known extends Orders>(
  name: string,
  file: URL,
): AgentProcess<Known> {
  const child = fork(file, { serialization: 'advanced', stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  const pending = new Map<number, Pending>()
  const complaint = collectComplaint(child)
  let lastId = 0
  const settle = (id: number): Pending | undefined => {
    const waiting = pending.get(id)
    pending.delete(id)
    if (waiting !== undefined) clearTimeout(waiting.timer)
    return waiting
  }
  child.on('message', (answer: OrderAnswer) => {
    const waiting = settle(answer.id)
    if ('fault' in answer) waiting?.reject(new Error(`${name}: ${answer.fault}`))
    else waiting?.resolve(answer.value)
  })
  const fail = (why: string): void => {
    for (const id of [...pending.keys()]) settle(id)?.reject(new Error(`${name} ${why}`))
  }
  child.once('error', (error) => fail(`could not be started: ${error.message}`))
  child.once('exit', (code, signal) => fail(`ended (${signal ?? code}). ${complaint()}`.trim()))
  return {
    pid: child.pid ?? 0,
    order(order, args?: unknown) {
      const id = ++lastId
      return new Promise((resolve, reject) => {
        if (!child.connected) return reject(new Error(`${name} is not running. ${complaint()}`))
        const timer = setTimeout(() => {
          settle(id)?.reject(new Error(`${name} did not ${order} within ${answerMsMax} ms`))
        }, answerMsMax)
        pending.set(id, { resolve: resolve as Pending['resolve'], reject, timer })
        child.send({ id, order, args } satisfies Order)
      })
    },
    stop: () => stop(child),
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const gone = once(child, 'exit')
  const timer = setTimeout(() => child.kill('SIGKILL'), goodbyeMsMax)
  child.kill('SIGTERM')
  await gone
  clearTimeout(timer)
}

/**
 * Reads the output of the process, so that it never blocks on a full pipe, and returns it when the
 * process fails.
 */
function collectComplaint(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text = (text + chunk).slice(-complaintCharactersMax)
    })
  }
  return () => text.trim()
}
