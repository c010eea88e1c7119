import { Worker } from 'node:worker_threads'
import type { CliContext } from './context.ts'
import { exitCode } from './exit-codes.ts'
import { Failure, toFailure } from './failure.ts'
import { onLauncherSignal, watchStarter } from './starter.ts'

/**
 * The ending of a server (fabric or connector). Every path to the end is bounded: a supervisor
 * restarts a process that has ended, and can do nothing with one that only stopped serving.
 */
export interface Ending {
  /** Aborted when the server has to end: by the first signal, or by a fatal error. */
  readonly signal: AbortSignal
  readonly isFatal: boolean
  /** Reports the failure at once, and ends the process within two seconds with its exit code. */
  fatal(failure: Failure): void
  /**
   * From now on the first SIGINT or SIGTERM asks for a stop in order, and the second ends at once.
   */
  acceptSignals(graceMs: number, onFirst: () => void): void
  /** The server has ended. Does not return after a fatal error; gives signals back otherwise. */
  finish(): void
}

export interface EndingParts {
  report(failure: Pick<Failure, 'message' | 'next'>): void
  readonly exit: (code: number) => void
  /** Kills the process from outside of its event loop, unless it is called off. */
  readonly lastResort: (afterMs: number) => () => void
  /** Calls back when the process that started this one has ended. */
  readonly watchStarter: (onGone: () => void) => () => void
}

/** After a fatal error, for whatever can still be closed. */
const fatalGraceMs = 1_500
/** Beyond the grace of a stop, for parts that write when they are closed. */
const closeGraceMs = 10_000
/** For an event loop that hangs, where no timer of ours comes. */
const lastResortMs = 400

const signals = ['SIGINT', 'SIGTERM'] as const

/**
 * Of an error that nothing caught. The command line is not to blame once a server runs, and a
 * supervisor that receives that exit code would leave the server down.
 */
function crashFailure(error: unknown): Failure {
  const failure = toFailure(error)
  if (failure.exit !== 'usage' || error instanceof Failure) return failure
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new Failure('internal', text, 'start again, and please report the text above')
}

/** That of this process, whose terminal shows why. */
export function openEnding({ terminal, environment }: CliContext): Ending {
  return watchEnding({
    report: ({ message, next }) => terminal.fault(message, next),
    exit: process.exit,
    lastResort: killLater,
    watchStarter: environment.startedByNpm === true ? watchStarter : () => () => undefined,
  })
}

export function watchEnding(parts: EndingParts): Ending {
  const { report, exit, lastResort } = parts
  const controller = new AbortController()
  let failed: Failure | null = null
  let callOff: () => void = () => undefined
  const restore: (() => void)[] = []

  const endBy = (afterMs: number, end: () => void): void => {
    callOff()
    const timer = setTimeout(end, afterMs)
    const callOffKill = lastResort(afterMs + lastResortMs)
    callOff = () => {
      clearTimeout(timer)
      callOffKill()
    }
  }
  const fatal = (failure: Failure): void => {
    // The first cause; what follows from it is noise.
    if (failed !== null) return
    failed = failure
    const code = exitCode(failure.exit)
    endBy(fatalGraceMs, () => exit(code))
    report(failure)
    controller.abort()
  }
  const crash = (error: unknown): void => fatal(crashFailure(error))
  process.on('uncaughtException', crash)
  restore.push(() => process.off('uncaughtException', crash))
  outlivePipes()

  return {
    signal: controller.signal,
    get isFatal() {
      return failed !== null
    },
    fatal,
    acceptSignals(graceMs, onFirst) {
      const asked = { directly: 0, 'by the launcher': 0 }
      const interrupt = (how: keyof typeof asked): void => {
        asked[how] += 1
        if (controller.signal.aborted) {
          // The same request may come both ways, and in either order.
          if (failed !== null || asked[how] > 1) exit(exitCode(failed?.exit ?? 'cut'))
          return
        }
        endBy(graceMs + closeGraceMs, () => {
          report({ message: 'the stop did not end in time', next: 'the next start recovers' })
          exit(exitCode('cut'))
        })
        onFirst()
        controller.abort()
      }
      const directly = (): void => interrupt('directly')
      for (const name of signals) {
        process.on(name, directly)
        restore.push(() => process.off(name, directly))
      }
      restore.push(onLauncherSignal(() => interrupt('by the launcher')))
      restore.push(parts.watchStarter(() => interrupt('by the launcher')))
    },
    finish() {
      if (failed !== null) exit(exitCode(failed.exit))
      callOff()
      for (const undo of restore.splice(0)) undo()
    },
  }
}

/**
 * A reader of our output that went away must not end a server: a command may end with its reader,
 * a server keeps serving those who never looked at its output.
 */
function outlivePipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error')
    // For good: what the last write met is reported after the server has ended.
    stream.on('error', () => undefined)
  }
}

/**
 * A thread runs also where the event loop hangs, and only the kernel is left to end such a process.
 */
export function killLater(afterMs: number): () => void {
  const kill = `setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${afterMs})`
  try {
    const thread = new Worker(kill, { eval: true, name: 'last-resort', env: {} })
    thread.on('error', () => undefined)
    thread.unref()
    return () => void thread.terminate()
  } catch {
    // No threads left. The timers of the event loop still end the process, unless it hangs.
    return () => undefined
  }
}
