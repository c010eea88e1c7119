import {
  addKnown,
  foldedId,
  type IdFilter,
  idLengthMax,
  knownLengthMin,
  removeKnown,
} from '../reading/known-ids.ts'

/** Maximum number of remembered ids, in total and for one caller and receiver. */
export interface OwnedIdsLimits {
  readonly totalMax: number
  readonly perOwnerMax: number
}

/** Something in a line. */
interface Linked<T> {
  older: T | null
  newer: T | null
}

/** Things in the order in which they came. Each leaves without a look at the others. */
class Line<T extends Linked<T>> {
  oldest: T | null = null
  #newest: T | null = null

  append(item: T): void {
    item.older = this.#newest
    item.newer = null
    if (this.#newest === null) this.oldest = item
    else this.#newest.newer = item
    this.#newest = item
  }

  remove({ older, newer }: T): void {
    if (older === null) this.oldest = newer
    else older.newer = newer
    if (newer === null) this.#newest = older
    else newer.older = older
  }
}

interface Owned extends Linked<Owned> {
  readonly key: string
  readonly share: Share
}

/** The ids of one caller at one receiver, by the time of last use. */
interface Share extends Linked<Share> {
  readonly name: string
  readonly receiver: string
  readonly owner: string
  readonly ids: Line<Owned>
  size: number
}

/**
 * The caller that an id of a receiver belongs to: a task, a conversation, an event of a stream. The
 * first caller keeps it. Each caller has a share of its own, whose least recently used id is
 * forgotten first; in all, the caller that holds the most loses one. A forgotten id does not belong
 * to any caller. Long ids are one in whatever case they are written, with hyphens or without.
 *
 * Receivers choose the ids and how many there are, so that each step takes the same time however
 * many are remembered.
 */
export class OwnedIds {
  readonly #limits: OwnedIdsLimits
  readonly #receivers = new Map<string, Map<string, Owned>>()
  /** By receiver and owner, so that no caller can push out what belongs to another. */
  readonly #shares = new Map<string, Share>()
  readonly #sizes = new SharesBySize()
  readonly #known: IdFilter | null
  #total = 0

  /** Ids of any receiver are in `known` for as long as they are remembered, without their kind. */
  constructor(limits: OwnedIdsLimits, known: IdFilter | null = null) {
    this.#limits = limits
    this.#known = known
  }

  find(receiver: string, id: string): string | null {
    return this.findKey(receiver, idKey(id))
  }

  /** As `find`, of an id that `idKey` has folded: where there are many, a thread has done so. */
  findKey(receiver: string, key: string): string | null {
    const owned = this.#receivers.get(receiver)?.get(key)
    if (owned === undefined) return null
    // Used just now, so the last to be forgotten.
    const { ids, owner } = owned.share
    if (owned.newer !== null) {
      ids.remove(owned)
      ids.append(owned)
    }
    return owner
  }

  claim(receiver: string, id: string, owner: string): void {
    // Asked first: an id may be as long as its message.
    if (id === '' || id.length - (kind.exec(id)?.[0].length ?? 0) > idLengthMax) return
    const key = idKey(id)
    const ids = this.#receivers.get(receiver) ?? new Map<string, Owned>()
    if (ids.has(key)) return
    const share = this.#shareOf(receiver, owner)
    const owned: Owned = { key, share, older: null, newer: null }
    share.ids.append(owned)
    this.#receivers.set(receiver, ids.set(key, owned))
    this.#sizes.resize(share, 1)
    this.#total++
    if (this.#known !== null) addKnown(this.#known, withoutKind(key))
    if (share.size > this.#limits.perOwnerMax) this.#forgetOldest(share)
    if (this.#total > this.#limits.totalMax) this.#forgetOldest(this.#sizes.largest())
  }

  #shareOf(receiver: string, owner: string): Share {
    const name = `${receiver}\n${owner}`
    const found = this.#shares.get(name)
    if (found !== undefined) return found
    const ids = new Line<Owned>()
    const share = { name, receiver, owner, ids, size: 0, older: null, newer: null }
    this.#shares.set(name, share)
    return share
  }

  #forgetOldest(share: Share | null): void {
    const oldest = share?.ids.oldest ?? null
    if (share === null || oldest === null) return
    const { receiver, name } = share
    share.ids.remove(oldest)
    this.#sizes.resize(share, -1)
    this.#total--
    if (share.size === 0) this.#shares.delete(name)
    const ids = this.#receivers.get(receiver)
    ids?.delete(oldest.key)
    if (ids?.size === 0) this.#receivers.delete(receiver)
    if (this.#known !== null) removeKnown(this.#known, withoutKind(oldest.key))
  }
}

/** Finds the largest share without a look at the others: there may be as many as ids. */
class SharesBySize {
  readonly #bySize: Line<Share>[] = []
  #max = 0

  /** Of several, the one that has been so large for the longest. */
  largest(): Share | null {
    return this.#bySize[this.#max]?.oldest ?? null
  }

  resize(share: Share, by: 1 | -1): void {
    if (share.size > 0) this.#bySize[share.size]?.remove(share)
    share.size += by
    if (share.size > 0) (this.#bySize[share.size] ??= new Line()).append(share)
    if (share.size > this.#max) this.#max = share.size
    // The last one of that size is now among the largest, at one less.
    else if (by < 0 && this.#bySize[this.#max]?.oldest === null) this.#max--
  }
}

const kind = /^(?:task|context|event) /

/**
 * An id, with its kind before it or without, as it is kept and compared. One that is longer than
 * any that is remembered stays as it is: there is nothing to compare it with. Hyphens do not count.
 */
export function idKey(id: string): string {
  const of = kind.exec(id)?.[0] ?? ''
  const given = of === '' ? id : id.slice(of.length)
  const bare = given.includes('-') ? given.replaceAll('-', '') : given
  if (bare.length < knownLengthMin) return given.length > idLengthMax ? id : of + foldedId(given)
  if (bare.length > idLengthMax) return id
  // The same as `foldedId`, of which it takes a tenth: nearly all ids are of that kind.
  return of + (ascii.test(bare) ? bare.toLowerCase() : foldedId(bare))
}

const ascii = /^[\x20-\x7e]*$/

const withoutKind = (key: string): string => key.replace(kind, '')
