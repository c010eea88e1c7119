import type { Strangers } from '../../pipeline/arrival.ts'
import type { OwnedIds } from './owned-ids.ts'
import type { TaskReferences } from './task-ids.ts'

/** Before what follows is the id of an event, and not that of a task or a conversation. */
export const event = 'event '

/** Whose tasks one exchange with a receiver reaches. */
export class ReachedOwners implements Strangers {
  readonly #tasks: OwnedIds
  readonly #receiver: string
  readonly #references: TaskReferences
  #found: Set<string> | null = null

  constructor(tasks: OwnedIds, receiver: string, references: TaskReferences) {
    this.#tasks = tasks
    this.#receiver = receiver
    this.#references = references
  }

  /** Found once: an id keeps its owner, and one that is forgotten in the middle ends nothing. */
  of(caller: string): ReadonlySet<string> {
    return this.#of(caller)
  }

  /** An answer shows tasks of `owner`, which policy permits at this moment. */
  add(caller: string, owner: string): void {
    this.#of(caller).add(owner)
  }

  #of(caller: string): Set<string> {
    this.#found ??= this.#named(caller)
    return this.#found
  }

  #named(caller: string): Set<string> {
    const { ids, mentions, known } = this.#references
    const ownerOf = (id: string) => this.#tasks.find(this.#receiver, id)
    const found = new Set<string>()
    // Where the protocols define an id, one that is not known is no one's to name.
    for (const id of ids) if (!id.startsWith(event)) found.add(ownerOf(id) ?? '')
    const further = known.flatMap((id) => [`task ${id}`, `context ${id}`])
    for (const id of [...mentions, ...further]) {
      const owner = ownerOf(id)
      if (owner !== null) found.add(owner)
    }
    found.delete(caller)
    return found
  }
}

/** Null for an exchange that has nothing to do with tasks, as most have. */
export function reachedOwners(
  tasks: OwnedIds,
  receiver: string,
  references: TaskReferences,
): ReachedOwners | null {
  const { ids, mentions, known, lists, isFile } = references
  const names = ids.length > 0 || mentions.length > 0 || known.length > 0
  return names || lists || isFile ? new ReachedOwners(tasks, receiver, references) : null
}
