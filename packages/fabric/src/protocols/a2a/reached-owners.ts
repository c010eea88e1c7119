import type { PrincipalKey } from '@countersign/protocol'
import type { ForeignOwners } from '../../pipeline/unchecked-request.ts'
import type { OwnedIds } from './owned-ids.ts'
import type { TaskReferences } from './task-ids.ts'

/** Before what follows is the id of an event, and not that of a task or a conversation. */
export const event = 'event '

/** A request that is about tasks of more others is not one that a client makes. */
export const ownersLimit = { name: 'tasks.owners', value: 64, unit: 'count' } as const

/** Finds the owners of the tasks that one exchange with a receiver reaches. */
export class ReachedOwners implements ForeignOwners {
  readonly #tasks: OwnedIds
  readonly #receiver: string
  readonly #references: TaskReferences
  /** Owners of the ids that may not be unknown, as the store had them at this exchange. */
  #read: ReadonlyMap<string, string> = new Map()
  #found: Set<string> | null = null

  constructor(tasks: OwnedIds, receiver: string, references: TaskReferences) {
    this.#tasks = tasks
    this.#receiver = receiver
    this.#references = references
  }

  /**
   * Reads the owners that memory does not hold, of the ids in the places where the protocols define
   * them: the task may have been created through another process. Before the first decision about
   * them. Null where nothing has to be read; rejects when the store cannot be.
   */
  load(): Promise<void> | null {
    const ids = this.#references.ids.filter((id) => !id.startsWith(event))
    return ids.length === 0 ? null : this.#load(ids)
  }

  async #load(ids: readonly string[]): Promise<void> {
    this.#read = await this.#tasks.read(this.#receiver, ids)
  }

  /** Found once: an id keeps its owner, and one that is forgotten in the middle ends nothing. */
  of(caller: PrincipalKey): ReadonlySet<string> {
    return this.#of(caller)
  }

  /** An answer shows tasks of `owner`, which policy permits at this moment. */
  add(caller: PrincipalKey, owner: string): void {
    this.#of(caller).add(owner)
  }

  #of(caller: PrincipalKey): Set<string> {
    this.#found ??= this.#named(caller)
    return this.#found
  }

  #named(caller: PrincipalKey): Set<string> {
    const { ids, mentions, known } = this.#references
    const found = new Set<string>()
    const add = (owner: string | null): void => {
      // Refused already: each further one would be decided on before that.
      if (owner !== null && owner !== caller && found.size <= ownersLimit.value) found.add(owner)
    }
    // In the places where the protocols define an id, an unknown one has the empty owner, and no
    // caller may name it.
    for (const id of ids) if (!id.startsWith(event)) add(this.#ownerOf(id) ?? '')
    for (const id of mentions) add(this.#ownerOf(id))
    for (const id of known) {
      add(this.#ownerOf(`task ${id}`))
      add(this.#ownerOf(`context ${id}`))
    }
    return found
  }

  #ownerOf(key: string): string | null {
    return this.#read.get(key) ?? this.#tasks.findKey(this.#receiver, key)
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
