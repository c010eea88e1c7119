import { readFileSync } from 'node:fs'

export type StopSignal = 'SIGINT' | 'SIGTERM'

let listener: (() => void) | null = null

/**
 * The launcher passes signals on by the channel between them, since a terminal or a supervisor may
 * have signalled this process as well: one request to stop must not count as two. The end of the
 * channel is the end of the launcher, however it ended.
 */
export function obeyLauncher(): void {
  if (process.channel === undefined) return
  const stop = (signal: StopSignal): void => {
    if (listener === null) process.kill(process.pid, signal)
    else listener()
  }
  process.on('message', (message: unknown) => {
    const signal = typeof message === 'object' && message !== null && 'signal' in message
    if (signal && (message.signal === 'SIGINT' || message.signal === 'SIGTERM')) {
      stop(message.signal)
    }
  })
  process.once('disconnect', () => stop('SIGTERM'))
  process.channel.unref()
}

/**
 * Sets the action that a server takes instead of ending at once. Returns the function that undoes
 * it.
 */
export function onLauncherSignal(then: () => void): () => void {
  listener = then
  return () => {
    if (listener === then) listener = null
  }
}

const everyMs = 1_000

/**
 * Calls `onGone` once the process that started this one has ended. npm signals its shell, which
 * ends without notifying the process that it runs; and the shell is not notified when npm is
 * killed.
 */
export function watchStarter(onGone: () => void): () => void {
  const before = lineage()
  const timer = setInterval(() => {
    if (lineage() === before) return
    clearInterval(timer)
    onGone()
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** Our parent, and that of the shell which npm put between. */
function lineage(): string {
  const { ppid } = process
  try {
    const text = readFileSync(`/proc/${ppid}/stat`, 'latin1')
    const [, name, above] = /^\d+ \((.*)\) \S (\d+) /.exec(text) ?? []
    return name === 'sh' ? `${ppid} ${above}` : String(ppid)
  } catch {
    // Another system, which has no such file.
    return String(ppid)
  }
}
