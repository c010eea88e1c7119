import type { RouteReliability } from '@countersign/protocol'
import type { Admission } from '../../budgets/admission.ts'
import type { BodyShare } from '../../budgets/body-budget.ts'
import type { OpenStreams } from '../../budgets/open-streams.ts'
import { nextTurn } from '../../budgets/stream-turns.ts'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Frame, FrameCodec, FrameCutter, RequestFrames } from '../../pipeline/frames.ts'
import { Interruption } from '../../pipeline/interruption.ts'
import type { Head } from '../../protocols/reading/head.ts'
import type { ArrivingBody, BodyChunks } from './arriving-body.ts'

export interface StreamedRequest {
  readonly codec: FrameCodec
  readonly bounds: RouteReliability['streams']
  readonly places: OpenStreams
}

/**
 * The frames of a request body, on the account of its sender: the piece that arrived, the frame
 * that is not whole yet, the last one that was handed out, and the first one, until it was
 * forwarded, twice, since inspection may have made another of it. Nothing further is read while a
 * frame is on its way.
 */
export class ArrivingFrames implements RequestFrames {
  readonly codec: FrameCodec
  readonly #bounds: RouteReliability['streams']
  readonly #chunks: BodyChunks
  readonly #cutter: FrameCutter
  readonly #share: BodyShare
  readonly #evicted = new Interruption<Refusal>()
  readonly #close: () => void
  #first: Frame | null = null
  #firstDigest: Uint8Array | null = null
  #onEvicted: (refusal: Refusal) => void = () => undefined
  #firstBytes = 0
  /** The writer of a frame may keep it until it gets the next one. */
  #lastBytes = 0
  #counted = 0
  #chunkBytes = 0
  #bytes = 0
  #frames = 0
  #hasEnded = false

  private constructor(
    body: ArrivingBody,
    share: BodyShare,
    { codec, bounds, close }: StreamedRequest & { readonly close: () => void },
  ) {
    this.codec = codec
    this.#close = close
    this.#bounds = bounds
    this.#share = share
    this.#cutter = codec.open(bounds.frameBytes)
    this.#chunks = body.chunks()
    share.onEvicted((refusal) => {
      this.#evicted.come(refusal)
      this.#onEvicted(refusal)
    })
  }

  /** Null for a body without a frame, which is an empty one. */
  static async open(
    body: ArrivingBody,
    head: Head,
    { share }: Admission,
    streamed: StreamedRequest,
  ): Promise<ArrivingFrames | null | Refusal> {
    const { bytes } = streamed.bounds
    if (Number(head.headers.get('content-length') ?? 0) > bytes) return overBytes(bytes)
    if (share.evicted !== null) return share.evicted
    const close = streamed.places.open(share.identity)
    if (close instanceof Refusal) return close
    const frames = new ArrivingFrames(body, share, { ...streamed, close })
    let first: Frame | null | Refusal = null
    try {
      first = await frames.#within(share.timeoutMs, () => {
        const limit = { name: 'http.bodyMs', value: share.timeoutMs, unit: 'ms' } as const
        return overLimit('OVERLOADED', limit, 'the first frame is not whole', 0)
      })
    } finally {
      // Also of one that broke off: nothing else gives its place back.
      if (first === null || first instanceof Refusal) frames.stop()
    }
    if (first === null || first instanceof Refusal) return first
    frames.#first = first
    frames.#firstBytes = first.data.length
    frames.#recount(frames.#cutter.heldBytes)
    if (share.evicted === null) return frames
    frames.stop()
    return share.evicted
  }

  get first(): Frame {
    if (this.#first === null) throw new TypeError('opened without a frame')
    return this.#first
  }

  get firstBytes(): Uint8Array {
    return this.#first?.data ?? nothing
  }

  get firstDigest(): Uint8Array {
    this.#firstDigest ??= sha256(this.firstBytes)
    return this.#firstDigest
  }

  dropFirst(): void {
    if (this.#first === null) return
    void this.firstDigest
    this.#first = null
    this.#firstBytes = 0
    this.#recount(this.#cutter.heldBytes)
  }

  onEvicted(listener: (refusal: Refusal) => void): void {
    this.#onEvicted = listener
    if (this.#share.evicted !== null) listener(this.#share.evicted)
  }

  next(): Promise<Frame | null | Refusal> {
    const { idleMs } = this.#bounds
    return this.#within(idleMs, () => {
      const limit = { name: 'stream.idleMs', value: idleMs, unit: 'ms' } as const
      return overLimit('OVERLOADED', limit, 'the next frame is not whole')
    })
  }

  stop(): void {
    this.#chunks.stop()
    this.#close()
    // The first frame stays counted until its exchange has ended: its refusal is recorded with it.
    this.#lastBytes = 0
    this.#recount(0)
  }

  /** A frame that comes byte by byte has no more time than one that comes at once. */
  async #within(ms: number, late: () => Refusal): Promise<Frame | null | Refusal> {
    const over = new Interruption<Refusal>()
    const timer = setTimeout(() => over.come(late()), ms)
    timer.unref()
    try {
      return await over.or(this.#evicted.or(this.#read()))
    } finally {
      clearTimeout(timer)
    }
  }

  async #read(): Promise<Frame | null | Refusal> {
    for (;;) {
      // A hundred thousand frames can come in one piece, and each costs more than its bytes.
      const turn = nextTurn(this)
      if (turn !== null) await turn
      const frame = this.#hasEnded ? null : this.#cutter.take()
      if (frame !== null || this.#hasEnded) return this.#bounded(frame)
      this.#recount(this.#cutter.heldBytes)
      const chunk = await this.#chunks.next()
      if (chunk === null) {
        this.#hasEnded = true
        return this.#bounded(this.#cutter.end())
      }
      // Its memory was given back before it was read: a shorter body would look whole.
      if (chunk.length === 0) throw new TypeError('a piece of the body without bytes')
      this.#bytes += chunk.length
      if (this.#bytes > this.#bounds.bytes) return overBytes(this.#bounds.bytes)
      this.#chunkBytes = chunk.length
      this.#recount(this.#cutter.heldBytes + this.#chunkBytes)
      this.#cutter.feed(chunk)
    }
  }

  #bounded(frame: Frame | null | Refusal): Frame | null | Refusal {
    if (frame === null || frame instanceof Refusal) return frame
    this.#frames += 1
    this.#lastBytes = frame.data.length
    if (this.#frames <= this.#bounds.frames) return frame
    const limit = { name: 'stream.frames', value: this.#bounds.frames, unit: 'count' } as const
    return overLimit('MESSAGE_TOO_LARGE', limit)
  }

  #recount(arriving: number): void {
    const bytes = arriving + this.#lastBytes + 2 * this.#firstBytes
    const more = bytes - this.#counted
    this.#counted = bytes
    if (more > 0) this.#share.take(more)
    else this.#share.give(-more)
  }
}

const nothing = new Uint8Array(0)

function overBytes(value: number): Refusal {
  return overLimit('MESSAGE_TOO_LARGE', { name: 'stream.bytes', value, unit: 'bytes' })
}
