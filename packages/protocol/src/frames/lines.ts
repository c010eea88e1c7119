import { ArrivingBytes, endMemory } from '../connections/arriving-bytes.ts'
import { type FrameBytes, type FrameCutter, FrameFault, type FrameFormat } from './frame.ts'

const lineFeed = 0x0a
const carriageReturn = 0x0d

/** Lines of JSON (NDJSON, JSON Lines). Blank lines are not frames, and do not pass. */
export const lineFrames: FrameFormat = {
  name: 'ndjson',
  open: (frameBytesMax) => new LineCutter(frameBytesMax),
  format({ data }) {
    if (data.includes(lineFeed)) throw new TypeError('a line with a line break in it')
    const line = new Uint8Array(data.length + 1)
    line.set(data)
    line[data.length] = lineFeed
    return line
  },
}

class LineCutter implements FrameCutter {
  readonly #bytesMax: number
  readonly #line: ArrivingBytes
  #chunk: Uint8Array = new Uint8Array(0)
  #at = 0
  /** True where a frame is in the memory of the chunk. */
  #isKept = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
    this.#line = new ArrivingBytes(bytesMax)
  }

  get heldBytes(): number {
    return this.#line.heldBytes
  }

  feed(chunk: Uint8Array): void {
    if (!this.#isKept) endMemory(this.#chunk)
    this.#isKept = false
    this.#chunk = chunk
    this.#at = 0
  }

  take(): FrameBytes | null | FrameFault {
    while (this.#at < this.#chunk.length) {
      // The bound on frames does not count them.
      if (this.#line.length === 0 && this.#chunk[this.#at] === lineFeed) {
        this.#at += 1
        continue
      }
      const end = this.#chunk.indexOf(lineFeed, this.#at)
      const piece = this.#chunk.subarray(this.#at, end < 0 ? this.#chunk.length : end)
      this.#at = end < 0 ? this.#chunk.length : end + 1
      if (!this.#line.add(piece)) return FrameFault.tooLarge(this.#bytesMax)
      this.#isKept ||= this.#line.isBorrowed
      if (end < 0) return null
      const frame = toFrame(this.#line.take())
      if (frame !== null) return frame
    }
    return null
  }

  /** The standard permits a last line without its end. */
  end(): FrameBytes | null | FrameFault {
    return toFrame(this.#line.take())
  }
}

function toFrame(bytes: Uint8Array): FrameBytes | null | FrameFault {
  const data = bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes
  // Some readers end a line there as well, and would see two.
  if (data.includes(carriageReturn)) return FrameFault.malformed('a carriage return within a line')
  return isBlank(data) ? null : { data }
}

function isBlank(data: Uint8Array): boolean {
  return data.every((byte) => byte === 0x20 || byte === 0x09)
}
