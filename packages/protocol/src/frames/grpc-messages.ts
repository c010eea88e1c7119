import { ArrivingBytes, endMemory } from '../connections/arriving-bytes.ts'
import { type FrameBytes, type FrameCutter, FrameFault, type FrameFormat } from './frame.ts'

/** A flag and a length, before each message (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const prefixBytes = 5

/**
 * Messages of gRPC. No detector reads protocol buffers, compressed or not: where policy requires
 * masking or blocking, they are refused like other opaque bytes.
 */
export const grpcFrames: FrameFormat = {
  name: 'grpc',
  open: (frameBytesMax) => new MessageCutter(frameBytesMax),
  format({ data, isCompressed = false }) {
    const message = new Uint8Array(prefixBytes + data.length)
    message[0] = isCompressed ? 1 : 0
    new DataView(message.buffer).setUint32(1, data.length)
    message.set(data, prefixBytes)
    return message
  },
}

class MessageCutter implements FrameCutter {
  readonly #bytesMax: number
  readonly #held: ArrivingBytes
  /** Null until the prefix of the next message is whole. */
  #prefix: { readonly isCompressed: boolean; readonly length: number } | null = null
  #chunk: Uint8Array = new Uint8Array(0)
  #at = 0
  /** True where a frame is in the memory of the chunk. */
  #isKept = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
    this.#held = new ArrivingBytes(Math.max(bytesMax, prefixBytes))
  }

  get heldBytes(): number {
    return this.#held.heldBytes
  }

  feed(chunk: Uint8Array): void {
    if (!this.#isKept) endMemory(this.#chunk)
    this.#isKept = false
    this.#chunk = chunk
    this.#at = 0
  }

  take(): FrameBytes | null | FrameFault {
    if (this.#prefix === null) {
      if (!this.#fill(prefixBytes)) return null
      const prefix = readPrefix(this.#held.take(), this.#bytesMax)
      if (prefix instanceof FrameFault) return prefix
      this.#prefix = prefix
    }
    const { isCompressed, length } = this.#prefix
    if (!this.#fill(length)) return null
    this.#prefix = null
    return { data: this.#held.take(), isCompressed }
  }

  end(): FrameBytes | null | FrameFault {
    if (this.#prefix === null && this.#held.length === 0) return null
    return FrameFault.malformed('the stream ended inside a message')
  }

  #fill(length: number): boolean {
    const piece = this.#chunk.subarray(this.#at, this.#at + length - this.#held.length)
    this.#at += piece.length
    if (piece.length > 0) this.#held.add(piece)
    this.#isKept ||= this.#held.isBorrowed
    return this.#held.length === length
  }
}

function readPrefix(bytes: Uint8Array, bytesMax: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flag = view.getUint8(0)
  const length = view.getUint32(1)
  if (flag > 1) return FrameFault.malformed(`a message with the flag ${flag}`)
  return length > bytesMax ? FrameFault.tooLarge(bytesMax) : { isCompressed: flag === 1, length }
}
