import { parseMediaType } from '../encoding/media-type.ts'
import { blockFrames } from './blocks.ts'
import type { FrameFormat, FrameFormatName } from './frame.ts'
import { grpcFrames } from './grpc-messages.ts'
import { lineFrames } from './lines.ts'

export const frameFormats = {
  ndjson: lineFrames,
  grpc: grpcFrames,
  blocks: blockFrames,
} as const satisfies Record<FrameFormatName, FrameFormat>

const formats: ReadonlyMap<string, FrameFormat> = new Map([
  ['application/x-ndjson', lineFrames],
  ['application/ndjson', lineFrames],
  ['application/jsonl', lineFrames],
  ['application/grpc', grpcFrames],
  ['application/octet-stream', blockFrames],
])

/** Methods whose content can be a stream of frames. */
export const streamedMethods: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

/** The frames of content of this type; null where such content is one message. */
export function frameFormatOf(contentType: string | null | undefined): FrameFormat | null {
  const essence = parseMediaType(contentType ?? '')?.essence ?? ''
  // `application/grpc+proto`, of which the suffix names the form of the messages.
  return formats.get(essence.startsWith('application/grpc+') ? 'application/grpc' : essence) ?? null
}
