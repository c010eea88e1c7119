import { memoryRecordStore } from '../../packages/fabric/src/adapters/memory/record-store.ts'
import { OwnedIds } from '../../packages/fabric/src/protocols/a2a/owned-ids.ts'
import {
  createTaskOwners,
  type TaskOwners,
} from '../../packages/fabric/src/protocols/a2a/task-guard.ts'
import {
  createIdFilter,
  type IdFilter,
} from '../../packages/fabric/src/protocols/reading/known-ids.ts'
import {
  RECORD_BOUNDS,
  type RecordBounds,
  type RecordStore,
} from '../../packages/fabric/src/state/record-store.ts'

/** Stands still: nothing expires. */
export const stoppedClock = { now: () => 0, monotonic: () => 0 }

/** Owners of tasks on a store of their own, with these bounds. */
export function ownedIds(
  bounds: RecordBounds = RECORD_BOUNDS.task,
  known: IdFilter = createIdFilter(),
): OwnedIds {
  const store = memoryRecordStore({
    clock: stoppedClock,
    bounds: { ...RECORD_BOUNDS, task: bounds },
  })
  const of = { store, clock: stoppedClock, known, bounds } as const
  return new OwnedIds({ ...of, collection: 'task', lifetimeMs: 1_000 })
}

export function taskOwners(
  store: RecordStore = memoryRecordStore({ clock: stoppedClock }),
): TaskOwners {
  return createTaskOwners({ store, clock: stoppedClock })
}
