import type { FrameBytes, FrameFormat, FrameCutter as FramesOf } from '@countersign/protocol'
import type { Refusal } from '../lib/refusal.ts'

/** One whole frame of a streamed message, without the bytes that separate it from the next. */
export interface Frame extends FrameBytes {
  /** Null for bytes that no detector reads, and of which policy therefore may require nothing. */
  readonly contentType: 'application/json' | null
}

export type FrameCutter = FramesOf<Frame, Refusal>

/** A format of frames, whose faults are refusals. */
export interface FrameCodec extends Pick<FrameFormat, 'name' | 'format'> {
  open(frameBytesMax: number): FrameCutter
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
