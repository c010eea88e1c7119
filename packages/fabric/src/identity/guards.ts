import type { Projection } from '../state/projection.ts'
import type { StateStream } from '../state/state-stream.ts'

/**
 * Rows that commits compare where their condition is about rows which do not exist yet: that a
 * signing key has one owner, that no join token was made meanwhile. Without such a row, two
 * processes would each write rows of their own, and neither would lose.
 */
export type Guards = Projection<string>

export function createGuards(stream: Pick<StateStream, 'project'>): Guards {
  return stream.project<string>({
    table: 'guards',
    parse: (_, text) => text,
    format: (value) => value,
  })
}
