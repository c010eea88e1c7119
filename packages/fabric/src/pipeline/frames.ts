import type { FrameFormatName } from '@countersign/protocol'
import type { Refusal } from '../lib/refusal.ts'

/** One whole frame of a streamed message, without the bytes that separate it from the next. */
export interface Frame {
  readonly data: Uint8Array
  /** Null for bytes that no detector reads, and of which policy therefore may require nothing. */
  readonly contentType: 'application/json' | null
  /** True where its sender compressed it: it goes on as it came. */
  readonly isCompressed?: boolean
}

/** Cuts one body into frames. Owned by one direction. */
export interface FrameCutter {
  /** Bytes of the frame that is not whole yet. */
  readonly heldBytes: number
  /**
   * The next bytes, which are the cutter's own from now on: their memory is given back once they
   * are copied. To be called when `take` has given null.
   */
  feed(chunk: Uint8Array): void
  /** The next whole frame of what was fed; null if there is none, a refusal if it may not be. */
  take(): Frame | null | Refusal
  /** The body has ended: its last frame, where the codec permits one without an end. */
  end(): Frame | null | Refusal
}

export interface FrameCodec {
  readonly name: FrameFormatName
  open(frameBytesMax: number): FrameCutter
  /** The bytes of one frame as they leave. Throws for data that would be read as two frames. */
  format(frame: Pick<Frame, 'data' | 'isCompressed'>): Uint8Array
}

/** The frames of one request, from the second on; the first is in the message. */
export interface RequestFrames {
  readonly codec: FrameCodec
  /** Throws once it was dropped. */
  readonly first: Frame
  /** The content of the first frame; empty once it was dropped. */
  readonly firstBytes: Uint8Array
  /** SHA-256 of the first frame, which stays when the frame goes. */
  readonly firstDigest: Uint8Array
  /** The first frame has left: for as long as the stream is open it is neither kept nor counted. */
  dropFirst(): void
  /**
   * Called when what the stream holds has to make room, at once if that has happened already. It is
   * counted no longer then, so that the stream has to end. One listener.
   */
  onEvicted(listener: (refusal: Refusal) => void): void
  /**
   * The next frame, null after the last one, or the refusal of one that may not be. Rejects when
   * the request breaks off. Nothing is read from the caller before it is called.
   */
  next(): Promise<Frame | null | Refusal>
  /** Nothing more is read. A `next` that is pending never settles. */
  stop(): void
}
