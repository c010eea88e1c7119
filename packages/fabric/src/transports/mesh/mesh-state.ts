import { type MeshState, utf8 } from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import { inTurns, overLimit, Shares, Turns } from '../../lib/limits.ts'
import type { Refusal } from '../../lib/refusal.ts'

/**
 * `now`: a standing or a policy, which connectors must not learn late. `soon`: what agents bring
 * about themselves, by a registration or by what they do, as often as they like.
 */
export type Urgency = 'now' | 'soon'

export interface MeshStateSource {
  read(): Omit<MeshState, 'sequence'>
  /** Called whenever anything that connectors decide by has changed. */
  onChange(listener: (urgency: Urgency) => void): () => void
}

export interface StateReader {
  /** The identity whose share of the waiting readers it takes. */
  readonly identity: string
  /** Fires when the reader is gone. */
  readonly signal: AbortSignal
}

/** Hands connectors the state they decide by, and the next one the moment it exists. */
export interface MeshStateFeed {
  /**
   * The state as JSON, once its sequence is another than `after`; after `waitMs` at the latest, and
   * then, if the sequence is unchanged, the sequence alone. All readers of a version get the same
   * bytes. `OVERLOADED` when too many wait.
   */
  wait(after: number, waitMs: number, reader: StateReader): Promise<Uint8Array | Refusal>
  /** Ends every wait, present and future. */
  close(): void
}

/**
 * Versions follow one another at this distance at least; the first change after a pause waits for
 * nothing.
 */
export const stateSpacingMs: Readonly<Record<Urgency, number>> = { now: 100, soon: 500 }
/** Building a large state takes at most one part in this many of the fabric's time. */
const buildPart = 20
/** Maximum rate at which changes caused by agents are passed on, to all readers together. */
const fanOutBytesPerMs = 64 * 1024
/** Later than this, nothing is passed on, however many read. */
const spacingMsMax = 10_000
/**
 * Polls that may wait, together and of one identity: one for each of its connectors, and some to
 * spare.
 */
const waitersMax = 4_096
const waitersPerIdentityMax = 128
/** Each one who is woken costs a decision and the first part of a response. */
const wakesPerTurn = 16
const retryAfterMs = 1_000

interface Waiting {
  readonly after: number
  end(): void
}

interface Version {
  readonly sequence: number
  readonly bytes: Uint8Array
  /** Offset of the part that a change would change. */
  readonly restAt: number
}

export function createMeshStateFeed(source: MeshStateSource, clock: Clock): MeshStateFeed {
  return new SharedStateFeed(source, clock)
}

/**
 * One serialization per version, shared by all readers; changes that come together are one version.
 */
class SharedStateFeed implements MeshStateFeed {
  readonly #source: MeshStateSource
  readonly #clock: Clock
  readonly #stop: () => void
  readonly #waiting = new Map<string, Set<Waiting>>()
  readonly #shares = new Shares(waitersMax, waitersPerIdentityMax)
  readonly #turns = new Turns(wakesPerTurn)
  /** Starts at the wall clock, so that a restarted fabric has other sequences than before. */
  #sequence: number
  /** Null until the first read. */
  #version: Version | null = null
  /** Something has changed since, and no reader has asked. */
  #isOutdated = false
  #builtAt = Number.NEGATIVE_INFINITY
  #buildMs = 0
  /** The time at which the pending change will be passed on; infinite without one. */
  #dueAt = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(source: MeshStateSource, clock: Clock) {
    this.#source = source
    this.#clock = clock
    this.#sequence = clock.now()
    this.#stop = source.onChange((urgency) => this.#changed(urgency))
  }

  async wait(after: number, waitMs: number, reader: StateReader): Promise<Uint8Array | Refusal> {
    const isChanged = (): boolean => this.#dueAt !== Number.POSITIVE_INFINITY
    // A read after a change includes it: a reader waits for the version that does.
    const mustWait = isChanged() || this.#read().sequence === after
    if (mustWait && !this.#isClosed) {
      const refusal = await this.#hold(after, waitMs, reader)
      if (refusal !== null) return refusal
    }
    const { sequence, bytes } = this.#read()
    return sequence === after ? utf8(JSON.stringify({ sequence })) : bytes
  }

  close(): void {
    this.#isClosed = true
    this.#stop()
    clearTimeout(this.#timer)
    for (const each of this.#inTurns()) each.end()
  }

  async #hold(
    after: number,
    waitMs: number,
    { identity, signal }: StateReader,
  ): Promise<Refusal | null> {
    if (!this.#shares.hasSpace(identity)) return tooMany()
    this.#shares.take(identity)
    const { promise, resolve } = Promise.withResolvers<void>()
    const each: Waiting = { after, end: resolve }
    const own = this.#waiting.get(identity) ?? new Set()
    this.#waiting.set(identity, own.add(each))
    // Readers that began together would end together; they are spread over several turns all the
    // same.
    const timer = setTimeout(() => this.#turns.add(resolve), waitMs)
    signal.addEventListener('abort', () => resolve(), { once: true })
    if (signal.aborted) resolve()
    await promise
    clearTimeout(timer)
    own.delete(each)
    if (own.size === 0) this.#waiting.delete(identity)
    this.#shares.give(identity)
    return null
  }

  #changed(urgency: Urgency): void {
    if (this.#isClosed) return
    const now = this.#clock.monotonic()
    const dueAt = Math.max(now, this.#builtAt + this.#spacing(urgency))
    if (dueAt >= this.#dueAt) return
    this.#dueAt = dueAt
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#publish(), dueAt - now)
  }

  #spacing(urgency: Urgency): number {
    const least = Math.max(stateSpacingMs[urgency], this.#buildMs * buildPart)
    const bytes = this.#shares.total * (this.#version?.bytes.length ?? 0)
    const spacing = urgency === 'now' ? least : Math.max(least, bytes / fanOutBytesPerMs)
    return Math.min(spacing, spacingMsMax)
  }

  #publish(): void {
    this.#dueAt = Number.POSITIVE_INFINITY
    this.#isOutdated = true
    if (this.#waiting.size > 0) this.#build()
    for (const each of this.#inTurns()) {
      this.#turns.add(() => {
        if (each.after !== this.#sequence) each.end()
      })
    }
  }

  #read(): Version {
    return this.#version === null || this.#isOutdated ? this.#build() : this.#version
  }

  #build(): Version {
    const began = this.#clock.monotonic()
    const before = this.#version
    const rest = utf8(JSON.stringify(this.#source.read()).slice(1))
    const now = this.#clock.monotonic()
    this.#builtAt = now
    this.#buildMs = now - began
    this.#isOutdated = false
    // A change that connectors cannot see, or that was taken back, is none.
    if (before !== null && isEqual(before.bytes.subarray(before.restAt), rest)) return before
    if (before !== null) this.#sequence += 1
    const head = utf8(`{"sequence":${this.#sequence},`)
    const bytes = new Uint8Array(head.length + rest.length)
    bytes.set(head)
    bytes.set(rest, head.length)
    this.#version = { sequence: this.#sequence, bytes, restAt: head.length }
    return this.#version
  }

  #inTurns(): readonly Waiting[] {
    return inTurns(this.#waiting.values())
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

function tooMany(): Refusal {
  const limit = { name: 'mesh.stateReaders', value: waitersPerIdentityMax, unit: 'count' } as const
  return overLimit('OVERLOADED', limit, 'too many polls of the state wait', retryAfterMs)
}
