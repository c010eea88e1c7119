import { setImmediate } from 'node:timers/promises'
import type { Limit } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import { Shares } from '../lib/limits.ts'
import type { Random } from '../lib/random.ts'
import type { EntryDraft } from './ledger.ts'
import type { LedgerLimits } from './limits.ts'
import { issuerOf, subjectName, trustDomainOf, visitSubjects } from './named-subjects.ts'
import {
  type ReplacedKey,
  type ReplacedKeyStore,
  readReplacedKeys,
  replacedKeyBytes,
  writeReplacedKeys,
} from './replaced-keys.ts'
import { LedgerDamage, type SubjectStore } from './store.ts'
import {
  damaged,
  encodeMark,
  encodeSubjectFile,
  encodeSubjectFileInTurns,
  encodeSubjects,
  type FileEnd,
  markPosition,
  parseSubjectFile,
  readGeneration,
  referenceBytes,
  type StoredSubject,
  subjectKeyBytes,
} from './subject-file.ts'
import { LedgerBusy } from './unavailable.ts'

/** A subject of entries, with the key that each of them is sealed with. */
export interface Subject extends StoredSubject {
  /** Entries that were sealed with its key since this was set to 0. */
  sealed: number
}

export interface SubjectsParts {
  readonly store: SubjectStore
  readonly keys: ReplacedKeyStore
  readonly origin: string
  readonly random: Random
  readonly limits: Pick<LedgerLimits, 'subjectsMax' | 'subjectsPerIssuerMax' | 'erasedSubjectsMax'>
  /** Reports whether the directory has a principal of that name. */
  isPrincipal(name: string): boolean
}

/** Values of facts whose subject is known without parsing them again. */
const valuesMax = 65_536
/** Compared in one turn of the event loop. */
const subjectsPerTurn = 256

/**
 * The subjects of one log: every principal that its entries name, with a random reference and a
 * random key. The file is durable before the first entry that needs them.
 */
export class Subjects {
  readonly #parts: SubjectsParts
  readonly #trustDomain: string
  readonly #shares: Shares
  /** For new entries, by `subjectName`. */
  readonly #named = new Map<string, Subject>()
  /** Of the values that facts have; null for one that names no principal. */
  readonly #values = new Map<string, Subject | null>()
  /** Everything that opens; null for what was erased. By reference, as latin1. */
  readonly #known = new Map<string, Subject | null>()
  /** Of each erasure that has begun: entries that begin an exchange are not sealed with these. */
  readonly #leaving = new Map<string, readonly Subject[]>()
  /** New ones that wait for the file. */
  #waiting = new Map<string, Subject>()
  #flush: Promise<void> | null = null
  readonly #writes = new Serializer()
  #key: ReplacedKey
  #at: FileEnd
  #markPlace: 0 | 1 = 0
  readonly #listeners: (() => void)[] = []
  #fail: (cause: unknown) => void = () => undefined

  private constructor(
    parts: SubjectsParts,
    key: ReplacedKey,
    stored: FileEnd & {
      readonly subjects: readonly StoredSubject[]
      readonly erased: readonly Uint8Array[]
    },
  ) {
    const { subjectsMax, subjectsPerIssuerMax } = parts.limits
    this.#parts = parts
    this.#trustDomain = trustDomainOf(parts.origin)
    this.#shares = new Shares(subjectsMax, subjectsPerIssuerMax)
    this.#key = key
    this.#at = { end: stored.end, tag: stored.tag }
    for (const reference of stored.erased) this.#known.set(latin1(reference), null)
    for (const subject of stored.subjects) {
      this.#shares.take(issuerOf(subject.name))
      this.#add({ ...subject, sealed: 0 })
    }
  }

  /**
   * Opens the file, or makes it for a log that is new. Finishes what a crash left of an erasure:
   * the key that does not wrap the file is destroyed. Rejects with LedgerDamage for a file that is
   * missing, damaged, or of another key than the secret store has.
   */
  static async open(parts: SubjectsParts, isNew: boolean): Promise<Subjects> {
    const { store, keys, origin, random } = parts
    const bytes = await store.read()
    const kept = await keys.load()
    if (!isNew && bytes === null) throw damaged('it is missing')
    if (bytes !== null && kept === null) throw keyMissing()
    const known =
      kept === null
        ? [{ generation: 1, key: random(replacedKeyBytes) }]
        : readReplacedKeys(kept, 'the subject key of this log')
    // Durable before it wraps anything.
    if (kept === null) await keys.store(writeReplacedKeys(known))
    const generation = bytes === null ? known.at(-1)?.generation : readGeneration(bytes)
    const key = known.find((each) => each.generation === generation)
    if (key === undefined) throw ofOtherKey()
    const content =
      bytes === null
        ? { subjects: [], erased: [], isMarked: false }
        : parseSubjectFile(bytes, { ...key, origin })
    let end: FileEnd | null = 'end' in content ? content : null
    if (end === null || !content.isMarked) {
      const file = encodeSubjectFile(content, { ...key, origin }, random)
      await store.replace(file.bytes)
      end = file
    }
    if (known.length > 1) await keys.store(writeReplacedKeys([key]))
    return new Subjects(parts, key, { ...content, end: end.end, tag: end.tag })
  }

  /** Subjects that new entries can name. */
  get size(): number {
    return this.#named.size
  }

  /** True while the keys of subjects are to be destroyed. */
  get isErasing(): boolean {
    return this.#leaving.size > 0
  }

  /** Every subject that is not erased. */
  all(): readonly Subject[] {
    return [...this.#known.values()].filter((each) => each !== null)
  }

  /** Called when the file is in an unknown state: the next start finds out. */
  onFail(listener: (cause: unknown) => void): void {
    this.#fail = listener
  }

  /** Called whenever a name has another key, or none. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** The subjects of an entry, in the order of its facts; null where one is not durable yet. */
  of(draft: Pick<EntryDraft, 'kind' | 'facts'>): readonly Subject[] | null {
    const found: Subject[] = []
    let isMissing = false
    visitSubjects(draft, (value, isClaimed) => {
      let subject = this.#values.get(value)
      if (subject === undefined) {
        const name = subjectName(value, this.#trustDomain)
        subject = name === null ? null : this.#named.get(name)
        if (subject !== undefined) this.#remember(value, subject)
        else if (isClaimed && name !== null && !this.#parts.isPrincipal(name)) subject = null
      }
      if (subject === undefined) isMissing = true
      else if (subject !== null && !found.includes(subject)) found.push(subject)
    })
    return isMissing ? null : found
  }

  /**
   * Makes what `of` lacks; resolves when it is durable. Throws LedgerBusy where the issuer of a new
   * one has as many as it may have; an entry that closes an exchange, or is the fabric's own, is
   * taken in any case.
   */
  ensure(draft: Pick<EntryDraft, 'kind' | 'facts'>, isReserved: boolean): Promise<void> {
    const names: string[] = []
    visitSubjects(draft, (value, isClaimed) => {
      const name = subjectName(value, this.#trustDomain)
      if (name === null || this.#named.has(name) || names.includes(name)) return
      if (!isClaimed || this.#parts.isPrincipal(name)) names.push(name)
    })
    for (const name of names) if (!isReserved && !this.#waiting.has(name)) this.#assertSpace(name)
    for (const name of names) {
      if (this.#waiting.has(name)) continue
      const { random } = this.#parts
      const secret = { reference: random(referenceBytes), key: random(subjectKeyBytes) }
      this.#waiting.set(name, { ...secret, name, sealed: 0 })
      this.#shares.take(issuerOf(name))
    }
    this.#flush ??= this.#writes.run(() => this.#write())
    return this.#flush
  }

  /** The subject that entries name by this value, for a reader; null for none. */
  find(value: string): Subject | null {
    const name = subjectName(value, this.#trustDomain)
    return name === null ? null : (this.#named.get(name) ?? null)
  }

  /** Every key under which entries were sealed for this value, and that is not erased. */
  *findAll(value: string): Generator<Subject> {
    const name = subjectName(value, this.#trustDomain)
    if (name === null) return
    const current = this.#named.get(name)
    if (current !== undefined) yield current
    for (const leaving of this.#leaving.values()) {
      for (const subject of leaving) if (subject.name === name) yield subject
    }
  }

  /** Null for a subject that was erased; throws LedgerDamage for a reference that is unknown. */
  keyOf(reference: Uint8Array): Uint8Array | null {
    const subject = this.#known.get(latin1(reference))
    if (subject !== undefined) return subject?.key ?? null
    throw damaged('it lacks a subject that an entry names')
  }

  /** The name of a subject that is not erased. */
  nameOf(reference: Uint8Array): string | null {
    return this.#known.get(latin1(reference))?.name ?? null
  }

  /**
   * Throws LedgerBusy where as many subjects were erased as may be. To be called before a request
   * is durable: one that is has to be carried out, or no start would come to its end.
   */
  assertErasable(): void {
    const { erasedSubjectsMax } = this.#parts.limits
    let erased = 0
    for (const subject of this.#known.values()) if (subject === null) erased += 1
    if (erased >= erasedSubjectsMax) throw this.#full('ledger.erasedSubjects', erasedSubjectsMax)
  }

  /**
   * Subjects that an erasure is about. From the first call on, entries that begin an exchange name
   * the same principal by another reference.
   */
  async retire(erasure: string, isSubject: (name: string) => boolean): Promise<readonly Subject[]> {
    const begun = this.#leaving.get(erasure)
    if (begun !== undefined) return begun
    const found: Subject[] = []
    for (const [at, subject] of this.all().entries()) {
      // The names are compared by their HMAC.
      if (at % subjectsPerTurn === 0) await setImmediate()
      if (isSubject(subject.name)) found.push(subject)
    }
    // Another erasure may have ended meanwhile.
    const isKnown = (each: Subject) => this.#known.get(latin1(each.reference)) === each
    const leaving = found.filter(isKnown)
    this.#leaving.set(erasure, leaving)
    for (const subject of leaving) {
      if (this.#named.get(subject.name) === subject) this.#named.delete(subject.name)
    }
    this.#changed()
    return leaving
  }

  /**
   * Destroys the keys of what `retire` returned, in this order: both keys of the file durable, the
   * file replaced, the old key destroyed. On resolve none of it opens anything.
   */
  async erase(erasure: string): Promise<void> {
    const leaving = this.#leaving.get(erasure) ?? []
    if (leaving.length > 0) await this.#writes.run(() => this.#replaceWithout(leaving))
    this.#leaving.delete(erasure)
    this.#changed()
  }

  /** The mark of the last subjects is durable on resolve. */
  async close(): Promise<void> {
    await this.#writes.run(() => this.#parts.store.sync())
  }

  async #write(): Promise<void> {
    this.#flush = null
    const { store, origin, random } = this.#parts
    const waiting = [...this.#waiting.values()]
    if (waiting.length === 0) return
    try {
      const { frame, ...at } = encodeSubjects(waiting, this.#at, { ...this.#key, origin }, random)
      await store.write(this.#at.end, frame)
      await store.sync()
      this.#at = at
      for (const subject of waiting) {
        this.#waiting.delete(subject.name)
        this.#add(subject)
      }
      await store.write(markPosition(this.#markPlace), encodeMark(at.end, this.#key.generation))
      this.#markPlace = this.#markPlace === 0 ? 1 : 0
      this.#changed()
    } catch (cause) {
      this.#fail(cause)
      throw cause
    }
  }

  async #replaceWithout(leaving: readonly Subject[]): Promise<void> {
    const { store, keys, origin, random } = this.#parts
    const next = { generation: this.#key.generation + 1, key: random(replacedKeyBytes) }
    try {
      await keys.store(writeReplacedKeys([this.#key, next]))
      const all = [...this.#known].filter(
        ([, subject]) => subject === null || !leaving.includes(subject),
      )
      const subjects = all.flatMap(([, subject]) => (subject === null ? [] : [subject]))
      const before = all.filter(([, subject]) => subject === null)
      const erased = before.map(([reference]) => Buffer.from(reference, 'latin1'))
      const gone = leaving.map(({ reference }) => reference)
      const content = { subjects, erased: [...erased, ...gone] }
      const file = { ...next, origin }
      const { bytes, ...at } = await encodeSubjectFileInTurns(content, file, random)
      await store.replace(bytes)
      await keys.store(writeReplacedKeys([next]))
      this.#key = next
      this.#at = at
    } catch (cause) {
      this.#fail(cause)
      throw cause
    }
    for (const subject of leaving) {
      this.#known.set(latin1(subject.reference), null)
      this.#shares.give(issuerOf(subject.name))
      subject.key.fill(0)
    }
  }

  #add(subject: Subject): void {
    this.#known.set(latin1(subject.reference), subject)
    this.#named.set(subject.name, subject)
  }

  #assertSpace(name: string): void {
    const issuer = issuerOf(name)
    if (this.#shares.hasSpace(issuer)) return
    const { subjectsMax, subjectsPerIssuerMax } = this.#parts.limits
    if (this.#shares.share === subjectsPerIssuerMax) {
      throw this.#full('ledger.subjectsPerIssuer', subjectsPerIssuerMax)
    }
    throw this.#full('ledger.subjects', subjectsMax)
  }

  #full(name: Limit['name'], value: number): LedgerBusy {
    const next = 'erase principals that are not needed any more'
    const limit = { name, value, unit: 'count' } as const
    return new LedgerBusy(limit, `the log names too many principals: ${next}`)
  }

  #remember(value: string, subject: Subject | null): void {
    if (this.#values.size >= valuesMax) this.#values.clear()
    this.#values.set(value, subject)
  }

  #changed(): void {
    this.#values.clear()
    for (const listener of this.#listeners) listener()
  }
}

function latin1(reference: Uint8Array): string {
  return Buffer.from(reference.buffer, reference.byteOffset, reference.length).toString('latin1')
}

function keyMissing(): LedgerDamage {
  return new LedgerDamage(
    'the subject key of this log is missing; restore all of the secrets from the newest backup',
  )
}

function ofOtherKey(): LedgerDamage {
  return new LedgerDamage(
    'the subjects file is wrapped by a key that was destroyed, or by one that the secrets lack: it is an old copy, or the secrets are; put back the newest of both',
  )
}
