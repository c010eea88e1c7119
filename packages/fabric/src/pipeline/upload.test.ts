import { endMemory } from '@countersign/protocol'
import { expect, test } from 'vitest'
import type { Refusal } from '../lib/refusal.ts'
import type { Frame, FrameCodec } from './frames.ts'
import { Interruption } from './interruption.ts'
import { asItCame, Upload } from './upload.ts'

test('the first frame stays with its exchange when the memory of what left is given back', async () => {
  const first: Frame = { data: Uint8Array.of(1, 2, 3), contentType: null }
  const codec: FrameCodec = {
    name: 'blocks',
    open: () => {
      throw new Error('the frames are given')
    },
    format: ({ data }) => data,
  }
  const source = {
    ...{ codec, first, firstBytes: first.data, firstDigest: new Uint8Array(32) },
    ...{ dropFirst: () => undefined, onEvicted: () => undefined, stop: () => undefined },
    next: () => Promise.resolve(null),
  }
  const upload = new Upload(source, first.data)
  const watch = { lost: new Interruption<Refusal>(), check: () => null, close: () => undefined }
  upload.begin(watch, asItCame)
  for await (const piece of upload.bytes) {
    expect(piece).toEqual(Uint8Array.of(1, 2, 3))
    endMemory(piece)
  }
  expect(first.data).toEqual(Uint8Array.of(1, 2, 3))
  upload.finish()
})
