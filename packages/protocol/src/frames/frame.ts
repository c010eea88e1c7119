/** One whole frame of a streamed message, without the bytes that separate it from the next. */
export interface FrameBytes {
  readonly data: Uint8Array
  /** True where its sender compressed it: it goes on as it came. */
  readonly isCompressed?: boolean
}

export type FrameFormatName = 'ndjson' | 'grpc' | 'blocks'

/** The reason why bytes are not frames of their format. */
export class FrameFault {
  /** True for a frame above the limit on frames, false for one that is malformed. */
  readonly isTooLarge: boolean
  readonly detail: string

  private constructor(isTooLarge: boolean, detail: string) {
    this.isTooLarge = isTooLarge
    this.detail = detail
  }

  static tooLarge(bytesMax: number): FrameFault {
    return new FrameFault(true, `a frame of more than ${bytesMax} bytes`)
  }

  static malformed(detail: string): FrameFault {
    return new FrameFault(false, detail)
  }
}

/** Cuts one body into frames. Owned by one direction. */
export interface FrameCutter<Frame = FrameBytes, Fault = FrameFault> {
  /** Bytes of the frame that is not whole yet. */
  readonly heldBytes: number
  /**
   * The next bytes, which are the cutter's own from now on: their memory is given back once they
   * are copied. To be called when `take` has given null.
   */
  feed(chunk: Uint8Array): void
  /** The next whole frame of the bytes that came; null if there is none. */
  take(): Frame | null | Fault
  /** The body has ended: its last frame, where the format permits one without an end. */
  end(): Frame | null | Fault
}

/** The form of the frames in a body, by its content type. */
export interface FrameFormat {
  readonly name: FrameFormatName
  open(frameBytesMax: number): FrameCutter
  /** The bytes of one frame as they leave. Throws for data that would be read as two frames. */
  format(frame: FrameBytes): Uint8Array
}
