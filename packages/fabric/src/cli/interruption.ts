import { exitCode } from './exit-codes.ts'

export interface Interruption {
  /** Aborted by the first interrupt or termination signal. */
  readonly signal: AbortSignal
  /** Gives the signals back to their former handlers. */
  stop(): void
}

const signals = ['SIGINT', 'SIGTERM'] as const

/** The first signal asks to stop; the second ends the process, whatever it is in the middle of. */
export function watchInterruption(onFirst: () => void = () => undefined): Interruption {
  const controller = new AbortController()
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(exitCode('cut'))
    onFirst()
    controller.abort()
  }
  for (const name of signals) process.on(name, interrupt)
  return {
    signal: controller.signal,
    stop: () => {
      for (const name of signals) process.off(name, interrupt)
    },
  }
}

export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
