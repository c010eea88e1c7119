import type { StateChange } from '../state/state-store.ts'

/** Changes for a commit together with others, and what to do in memory once they are durable. */
export interface JointChanges {
  readonly changes: readonly StateChange[]
  applied(): void
}

export const noChanges: JointChanges = { changes: [], applied: () => undefined }
