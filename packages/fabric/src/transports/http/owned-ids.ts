import { addKnown, foldedId, type IdFilter, idLengthMax, removeKnown } from './known-ids.ts'

/** How many ids are remembered, in all and for one caller and receiver. */
export interface OwnedIdsLimits {
  readonly totalMax: number
  readonly perOwnerMax: number
}

/**
 * Which caller an id of a receiver belongs to: a task, a conversation, an event of a stream. The first
 * caller keeps it. Each caller has a share of its own, whose least recently used id is forgotten
 * first; in all, the caller that holds the most loses one. What is forgotten belongs to no one. Long ids
 * are one in whatever case they are written, with hyphens or without.
 */
export class OwnedIds {
  readonly #limits: OwnedIdsLimits
  readonly #owners = new Map<string, string>()
  /** By owner and receiver, so that no caller can push out what belongs to another. */
  readonly #shares = new Map<string, Set<string>>()
  readonly #known: IdFilter | null

  /** Ids of any receiver are in `known` for as long as they are remembered, without their kind. */
  constructor(limits: OwnedIdsLimits, known: IdFilter | null = null) {
    this.#limits = limits
    this.#known = known
  }

  find(receiver: string, id: string): string | null {
    if (isTooLong(id)) return null
    const key = keyOf(receiver, id)
    const owner = this.#owners.get(key)
    if (owner === undefined) return null
    const share = this.#shares.get(`${receiver}\n${owner}`)
    // Used just now, so the last to be forgotten.
    if (share?.delete(key) === true) share.add(key)
    return owner
  }

  claim(receiver: string, id: string, owner: string): void {
    if (id === '' || id.length > idLengthMax) return
    const key = keyOf(receiver, id)
    if (this.#owners.has(key)) return
    const shareKey = `${receiver}\n${owner}`
    const share = this.#shares.get(shareKey) ?? new Set()
    this.#shares.set(shareKey, share.add(key))
    this.#owners.set(key, owner)
    if (this.#known !== null) addKnown(this.#known, withoutKind(key))
    if (share.size > this.#limits.perOwnerMax) this.#forgetOldest(shareKey)
    if (this.#owners.size > this.#limits.totalMax) this.#forgetOldest(this.#largest())
  }

  #largest(): string {
    let found = ''
    let size = 0
    for (const [key, share] of this.#shares) {
      if (share.size <= size) continue
      found = key
      size = share.size
    }
    return found
  }

  #forgetOldest(shareKey: string): void {
    const share = this.#shares.get(shareKey)
    const [oldest] = share ?? []
    if (share === undefined || oldest === undefined) return
    share.delete(oldest)
    if (share.size === 0) this.#shares.delete(shareKey)
    this.#owners.delete(oldest)
    if (this.#known !== null) removeKnown(this.#known, withoutKind(oldest))
  }
}

/** Without hyphens too, so that it names nothing that is remembered, and need not be folded to tell. */
function isTooLong(id: string): boolean {
  return id.length > idLengthMax && id.replaceAll('-', '').length > idLengthMax
}

const kind = /^(?:task|context) /

function keyOf(receiver: string, id: string): string {
  const of = kind.exec(id)?.[0] ?? ''
  return `${receiver}\n${of}${foldedId(id.slice(of.length))}`
}

function withoutKind(key: string): string {
  return key.slice(key.indexOf('\n') + 1).replace(kind, '')
}
