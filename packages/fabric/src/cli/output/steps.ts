import type { Output } from './output.ts'
import type { Progress } from './progress.ts'

/** The steps of something long, of which one is shown at a time. */
export interface Steps {
  enter(step: string): void
  end(): void
}

export function createSteps(output: Output): Steps {
  let progress: Progress | null = null
  const end = (): void => {
    progress?.stop()
    progress = null
  }
  return {
    enter(step) {
      end()
      progress = output.progress(step)
    },
    end,
  }
}
