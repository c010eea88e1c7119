import {
  type FrameBytes,
  FrameFault,
  type FrameFormat,
  parseUtf8,
  ROUTE_BOUNDS,
} from '@countersign/protocol'
import { AgentError, type FaultCode } from '../lib/fault.ts'

export interface FrameReaderOptions {
  readonly frameBytesMax: number
  /** The message whose body it is, which the code of a fault names. */
  readonly of: 'REQUEST' | 'ANSWER'
}

/**
 * Returns why no route has frames of this size; null for one that may. Blocks of zero bytes would
 * never end.
 */
export function frameBytesFault(value: number): string | null {
  const { min, max } = ROUTE_BOUNDS.streams.frameBytes
  if (Number.isSafeInteger(value) && value >= min && value <= max) return null
  return `frameBytes is a whole number from ${min} to ${max}, and not ${value}`
}

/**
 * The frames of a body that arrives in pieces. Holds one frame that is not whole. Throws
 * `…_TOO_LARGE` or `…_MALFORMED` for bytes that are not frames.
 */
export class FrameReader {
  readonly #cutter: ReturnType<FrameFormat['open']>
  readonly #of: FrameReaderOptions['of']

  constructor(format: FrameFormat, { frameBytesMax, of }: FrameReaderOptions) {
    this.#cutter = format.open(frameBytesMax)
    this.#of = of
  }

  /** Bytes of the frame that is not whole yet. */
  get heldBytes(): number {
    return this.#cutter.heldBytes
  }

  /**
   * The frames that `chunk` makes whole. To be read to their end before the next call. Its memory
   * is taken: a caller that passes the chunk on, or does not own it, gives a copy.
   */
  *read(chunk: Uint8Array): Generator<FrameBytes> {
    this.#cutter.feed(chunk)
    for (;;) {
      const frame = this.#given(this.#cutter.take())
      if (frame === null) return
      yield frame
    }
  }

  /** The body has ended: its last frame, where it has no end of its own. */
  *end(): Generator<FrameBytes> {
    const last = this.#given(this.#cutter.end())
    if (last !== null) yield last
  }

  #given(frame: FrameBytes | null | FrameFault): FrameBytes | null {
    if (!(frame instanceof FrameFault)) return frame
    const { isTooLarge, detail } = frame
    throw new AgentError(`${this.#of}_${isTooLarge ? 'TOO_LARGE' : 'MALFORMED'}`, detail)
  }
}

/** The values of lines of JSON. Throws `malformed` for a line that has none. */
export async function* parseLines(
  lines: AsyncIterable<Uint8Array>,
  malformed: FaultCode,
): AsyncGenerator<unknown, void, undefined> {
  for await (const line of lines) yield parseLine(line, malformed)
}

function parseLine(line: Uint8Array, malformed: FaultCode): unknown {
  try {
    return JSON.parse(parseUtf8(line))
  } catch (cause) {
    throw new AgentError(malformed, 'a line is not JSON', { cause })
  }
}
