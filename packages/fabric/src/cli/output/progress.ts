import type { Clock } from '../../lib/clock.ts'
import { fitText } from './display-width.ts'

/** Shows that something long is under way, only to a person who is watching. */
export interface Progress {
  /** Leaves no trace. */
  stop(): void
}

export interface ProgressScreen {
  readonly stream: { write(text: string): unknown }
  readonly columns: number
  readonly clock: Clock
}

export const silentProgress: Progress = { stop: () => undefined }

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
const frameMs = 100
/** Sooner than that a count of seconds only flickers. */
const secondsAfterMs = 2_000

export function startProgress(text: string, { stream, columns, clock }: ProgressScreen): Progress {
  const startedAt = clock.monotonic()
  let frame = 0
  const draw = (): void => {
    const elapsedMs = clock.monotonic() - startedAt
    const seconds = elapsedMs < secondsAfterMs ? '' : ` (${Math.floor(elapsedMs / 1000)} s)`
    const line = fitText(`${frames[frame % frames.length]} ${text}${seconds}`, columns - 1)
    frame += 1
    stream.write(`\r${line}\u001b[K`)
  }
  draw()
  const timer = setInterval(draw, frameMs)
  timer.unref()
  return {
    stop() {
      clearInterval(timer)
      stream.write('\r\u001b[K')
    },
  }
}
