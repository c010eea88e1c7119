import type { FactValue } from '../ledger/ledger.ts'
import { type Maybe, Refusal, Withdrawal } from '../lib/refusal.ts'
import type { Finding } from '../redaction/redactor.ts'
import { declinedBy, Undelivered } from './delivery.ts'
import type { Frame, RequestFrames } from './frames.ts'
import type { InspectedFrame } from './inspect-frame.ts'
import { Interruption } from './interruption.ts'
import { maskedSummary } from './masked-summary.ts'
import type { StatusWatch } from './status.ts'
import { openTranscript } from './transcript.ts'

/** The frame as it may leave, or the refusal of one that may not. */
export type InspectFrame = (frame: Frame) => Maybe<InspectedFrame>

/** For a hop that does not inspect, because the other end of its connection does. */
export const asItCame: InspectFrame = ({ data }) => ({ data, findings: [] })

/** The record of a streamed request that has ended. */
export interface UploadRecord {
  readonly facts: Readonly<Record<string, FactValue>>
  /** Of the frames after the first. */
  readonly findings: readonly Finding[]
  readonly bytes: number
}

/** Why a stream was ended before its end. */
export interface Cut {
  readonly refusal: Refusal
  /** The refusal if nothing of the stream was sent. */
  readonly unsent: Refusal
}

/** The end of a streamed request that this side has ended, whatever the receiver did. */
export function cutRequest({ refusal, unsent }: Cut, isUnsent: boolean): Undelivered {
  if (isUnsent) return declinedBy(unsent)
  return new Undelivered({ progress: 'cut', detail: refusal.detail, refusal })
}

/** Findings are counted by class; each of a long stream would be kept without end. */
const findingsMax = 1000

/**
 * The frames of a streamed request on their way to its receiver. Each is inspected whole, the right
 * to go on is evaluated, and it is forwarded before the next one is read from the caller: memory
 * holds one. Its end, whichever it is, is `finish`.
 */
export class Upload {
  readonly #source: RequestFrames
  /** As it may leave; empty once it has left, since nothing keeps it for the rest of the stream. */
  #firstForwarded: Uint8Array
  readonly #ended = new Interruption<'ended'>()
  readonly #sent = openTranscript()
  /** Null as long as every frame was forwarded as it came. */
  #forwarded: ReturnType<typeof openTranscript> | null = null
  readonly #findings: Finding[] = []
  #frames = 0
  #bytes = 0
  #cut: Cut | null = null
  #fail: (cause: Error) => void = () => undefined
  #close: () => void = () => undefined
  #isWhole = false
  #leaving: AsyncIterable<Uint8Array> | null = null

  constructor(source: RequestFrames, firstForwarded: Uint8Array) {
    this.#source = source
    this.#firstForwarded = firstForwarded
  }

  get firstForwarded(): Uint8Array {
    return this.#firstForwarded
  }

  /** Null while the stream was not ended before its end. */
  get cut(): Cut | null {
    return this.#cut
  }

  /** Called when the stream may not go on, also while the receiver takes nothing of it. */
  onFailure(fail: (cause: Error) => void): void {
    this.#fail = fail
    if (this.#cut !== null) fail(new StreamEnded(this.#cut.refusal))
  }

  /**
   * The bytes as they may leave, to be read once. Each piece is its reader's own. Throws before
   * `begin`.
   */
  get bytes(): AsyncIterable<Uint8Array> {
    if (this.#leaving === null) throw new TypeError('no intent is on record yet')
    return this.#leaving
  }

  /** From now until `finish`, the stream goes on while `watch` finds its right. */
  begin(watch: StatusWatch, inspect: InspectFrame): void {
    this.#close = watch.close
    const ended = this.#ended.or(watch.lost.or(new Promise<never>(() => undefined)))
    void ended.then((lost) => (lost === 'ended' ? undefined : this.#refuse(lost)))
    // Also while it waits for a connection, and its next frame is not asked for.
    this.#source.onEvicted((refusal) => this.#refuse(refusal))
    const frames = this.#pass(watch, inspect)
    this.#leaving = { [Symbol.asyncIterator]: () => frames }
  }

  /** Stops reading, and gives the record of the forwarded frames; a second call gives the same. */
  finish(): UploadRecord {
    this.#close()
    this.#source.stop()
    this.#ended.come('ended')
    const masked = maskedSummary(this.#findings)
    return {
      findings: this.#findings,
      bytes: this.#bytes,
      facts: {
        'request.transcript': this.#sent.digest(),
        'request.forwarded-transcript': (this.#forwarded ?? this.#sent).digest(),
        'request.frames': this.#frames,
        'request.bytes': this.#bytes,
        ...(masked === '' ? {} : { 'request.masked': masked }),
      },
    }
  }

  /**
   * Throws where the stream may not go on. It must never return then: the receiver would take what
   * it has for the whole.
   */
  async *#pass(
    watch: StatusWatch,
    inspect: InspectFrame,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { codec } = this.#source
    yield this.#takeFirst()
    this.#source.dropFirst()
    for (;;) {
      const next = await this.#wait(watch, this.#source.next())
      if (next === null) {
        this.#isWhole = true
        return
      }
      const inspected = await this.#wait(watch, Promise.resolve(inspect(next)))
      // The last question before it leaves.
      const lost = watch.check()
      if (lost !== null) throw this.#refuse(lost)
      this.#found(inspected.findings)
      this.#count(next.data, inspected.data)
      yield codec.format({ ...next, data: inspected.data })
    }
  }

  /** A method of its own: a generator keeps its variables for as long as it runs. */
  #takeFirst(): Uint8Array {
    const { first, codec } = this.#source
    const forwarded = this.#firstForwarded
    this.#count(first.data, forwarded)
    this.#firstForwarded = new Uint8Array(0)
    const leaving = codec.format({ ...first, data: forwarded })
    // The exchange keeps the frame until it has left, and the reader ends the memory of a piece.
    return leaving === forwarded ? new Uint8Array(leaving) : leaving
  }

  async #wait<Value>(watch: StatusWatch, work: Promise<Value | Refusal>): Promise<Value> {
    const given = await this.#ended.or(watch.lost.or(work))
    if (given === 'ended') throw new Error('the exchange ended before its request')
    if (given instanceof Refusal) throw this.#refuse(given)
    return given
  }

  #refuse(given: Refusal): StreamEnded {
    this.#cut ??= { refusal: streamRefusal(given), unsent: given }
    const cause = new StreamEnded(this.#cut.refusal)
    if (!this.#isWhole) this.#source.stop()
    this.#fail(cause)
    return cause
  }

  #found(findings: readonly Finding[]): void {
    if (this.#findings.length < findingsMax) this.#findings.push(...findings)
  }

  #count(received: Uint8Array, forwarded: Uint8Array): void {
    if (forwarded !== received) this.#forwarded ??= this.#sent.copy()
    this.#sent.add(received)
    this.#forwarded?.add(forwarded)
    this.#frames += 1
    this.#bytes += received.length
  }
}

/** The cause with which the request to the receiver is ended. */
export class StreamEnded extends Error {
  constructor({ code, detail }: Refusal) {
    super(`the streamed request may not go on: ${code}: ${detail}`)
  }
}

/**
 * The receiver has the frames before this one, whatever the reason: no code may claim that nothing
 * was delivered.
 */
function streamRefusal(given: Refusal): Refusal {
  if (given instanceof Withdrawal) return given
  const { code, detail, limit } = given
  return new Refusal('STREAM_REJECTED', `${code}: ${detail}`, null, { limit })
}
