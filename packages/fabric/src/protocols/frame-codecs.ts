import {
  type FrameBytes,
  FrameFault,
  type FrameFormat,
  frameFormatOf,
  frameFormats,
} from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Frame, FrameCodec } from '../pipeline/frames.ts'

export const lines: FrameCodec = codec(frameFormats.ndjson, 'application/json')
/** No detector reads protocol buffers, compressed or not, and none reads bytes without a form. */
export const grpcMessages: FrameCodec = codec(frameFormats.grpc, null)
export const blocks: FrameCodec = codec(frameFormats.blocks, null)

const codecs = { ndjson: lines, grpc: grpcMessages, blocks } as const

/** The codec that cuts content of this type; null where such content is one message. */
export function codecOf(contentType: string | undefined): FrameCodec | null {
  const format = frameFormatOf(contentType)
  return format === null ? null : codecs[format.name]
}

/** The frames of the protocol package, with the refusal of what is not one. */
function codec(format: FrameFormat, contentType: Frame['contentType']): FrameCodec {
  return {
    name: format.name,
    format: (frame) => format.format(frame),
    open(frameBytesMax) {
      const cutter = format.open(frameBytesMax)
      const given = (frame: FrameBytes | null | FrameFault): Frame | null | Refusal => {
        if (frame === null) return null
        if (!(frame instanceof FrameFault)) return { ...frame, contentType }
        return frame.isTooLarge ? tooLarge(frameBytesMax) : malformed(frame)
      }
      return {
        get heldBytes() {
          return cutter.heldBytes
        },
        feed: (chunk) => cutter.feed(chunk),
        take: () => given(cutter.take()),
        end: () => given(cutter.end()),
      }
    },
  }
}

function malformed({ detail }: FrameFault): Refusal {
  return new Refusal('MESSAGE_MALFORMED', detail)
}

function tooLarge(value: number): Refusal {
  return overLimit('MESSAGE_TOO_LARGE', { name: 'stream.frameBytes', value, unit: 'bytes' })
}
