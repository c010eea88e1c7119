import { type ChildProcess, fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { serverMemory } from '../tools/server-memory.ts'

/** A process of the bench's own, and its message when it was ready. */
export interface Child<Ready> {
  readonly ready: Ready
  readonly process: ChildProcess
  readonly pids: readonly number[]
  rssMb(): number
  ask<Answer>(question: unknown): Promise<Answer>
  stop(): Promise<void>
}

const readyMsMax = 30_000

/**
 * Starts `file` with `args` and the memory settings of a server; it must send one message when it
 * is ready.
 */
export async function start<Ready>(
  file: string,
  args: readonly string[] = [],
): Promise<Child<Ready>> {
  const child = fork(new URL(file, import.meta.url), args, {
    execArgv: ['--conditions=countersign-source'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...serverMemory(), ...process.env },
  })
  const pid = child.pid ?? 0
  const ready = await message<Ready>(child)
  return {
    ready,
    process: child,
    pids: [pid],
    rssMb() {
      const kb = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      return Number(kb) / 1024
    },
    ask<Answer>(question: unknown) {
      const answer = message<Answer>(child, 10 * readyMsMax)
      child.send(question as object)
      return answer
    },
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await ended
      clearTimeout(timer)
    },
  }
}

function message<T>(child: ChildProcess, waitMs = readyMsMax): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('a process gave no answer')), waitMs)
    const ended = () => reject(new Error('a process ended early'))
    child.once('exit', ended)
    child.once('message', (value) => {
      clearTimeout(timer)
      child.off('exit', ended)
      resolve(value as T)
    })
  })
}
