import { utf8 } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { answerBudget } from '../budgets/answer-budget.ts'
import type { BodyShare } from '../budgets/body-budget.ts'
import { systemClock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { StreamEvent } from '../pipeline/delivery.ts'
import { blocks, grpcMessages, lines } from './frame-codecs.ts'
import { FrameReader } from './frame-reader.ts'
import { EventReader } from './http/sse.ts'

type Reader = AsyncIterator<StreamEvent, undefined> & { drop(): void }
type Open = (chunks: AsyncIterable<Uint8Array>, share: BodyShare) => Reader

const framesOf =
  (codec: typeof lines): Open =>
  (chunks, share) =>
    new FrameReader(chunks, share, codec.open(64))

const limit = 'limits.responseMemoryBytes, 1 MiB'

/** A reader that has returned the first part of a response when its share is evicted. */
async function evictedReader(open: Open, chunks: readonly string[]): Promise<Reader> {
  const share = answerBudget({
    ...{ name: 'limits.responseMemoryBytes', totalBytesMax: 1024 * 1024, bodyBytesMax: 1024 },
    ...{ receiverPart: 1, callerPart: 1, clock: systemClock },
  }).open('receiver', 'caller')
  const source = (async function* () {
    for (const chunk of chunks) yield utf8(chunk)
  })()
  const reader = open(source, share)
  share.onEvicted(() => reader.drop())
  expect(await reader.next()).toMatchObject({ done: false })
  share.evict(new Refusal('OUTCOME_UNKNOWN', 'it is full', null, { limit }))
  return reader
}

describe.each<readonly [string, Open, string]>([
  ['lines', framesOf(lines), '{"n":0}\n'],
  ['messages of gRPC', framesOf(grpcMessages), '\0\0\0\0\u0001x'],
  ['blocks', framesOf(blocks), 'x'.repeat(64)],
  ['events', (chunks, share) => new EventReader(chunks, share), 'data: {"n":0}\n\n'],
])('a response of %s that was evicted', (_, open, part) => {
  test.each<readonly [string, readonly string[]]>([
    ['whose end has come', [part]],
    ['of which a part was read and not returned', [part + part]],
    ['of which more has come', [part, part]],
  ])('never ends as a whole one: %s', async (__, chunks) => {
    const reader = await evictedReader(open, chunks)
    await expect(reader.next()).rejects.toMatchObject({ progress: 'sent', limit })
  })
})
