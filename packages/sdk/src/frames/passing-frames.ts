import type { FrameBytes, FrameFormat } from '@countersign/protocol'
import { FrameReader } from './cut-frames.ts'
import { FrameTally } from './frame-tally.ts'

/** Counts the frames of a body as they pass. */
export interface PassingFrames {
  /** Null for a body that turned out to have other bytes than frames. */
  readonly tally: FrameTally | null
  take(chunk: Uint8Array): void
  end(): void
}

/**
 * Drops the count at bytes that are not frames: a response that is whole may be of a type of frames
 * and have another form.
 */
export function passingFrames(format: FrameFormat, frameBytesMax: number): PassingFrames {
  let tally: FrameTally | null = new FrameTally()
  const reader = new FrameReader(format, { frameBytesMax, of: 'ANSWER' })
  const add = (frames: () => Iterable<FrameBytes>): void => {
    try {
      if (tally !== null) for (const { data } of frames()) tally.add(data)
    } catch {
      tally = null
    }
  }
  return {
    get tally() {
      return tally
    },
    take: (chunk) => add(() => reader.read(chunk.slice())),
    end: () => add(() => reader.end()),
  }
}
