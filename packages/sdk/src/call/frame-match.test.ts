import { describe, expect, test } from 'vitest'
import { checkFrames } from './frame-match.ts'

const digest = new Uint8Array(32).fill(1)
const facts = {
  ...{ 'request.transcript': digest, 'request.forwarded-transcript': digest },
  ...{ 'request.frames': 2, 'request.bytes': 10, transcript: digest, events: 3 },
}
type Receipt = Parameters<typeof checkFrames>[0]
const receiptOf = (given: object): Receipt =>
  ({
    entries: [{ facts: { 'request.streamed': 'blocks' } }, { facts: given, withheld: [] }],
  }) as never

describe('the counts of a record whose digest is that of the receipt', () => {
  const receipt = receiptOf(facts)

  test('agree with those on record', () => {
    const kept = {
      request: { digest, frames: 2, bytes: 10 },
      response: { digest, frames: 3, bytes: 7 },
    }
    for (const as of ['caller', 'receiver'] as const) checkFrames(receipt, { as, ...kept })
  })

  test.each([
    ['frames of the request', { request: { digest, frames: 3, bytes: 10 } }],
    ['bytes of the request', { request: { digest, frames: 2, bytes: 11 } }],
    ['events of the response', { response: { digest, frames: 2, bytes: 7 } }],
  ])('are refused where they do not: %s', (_, kept) => {
    for (const as of ['caller', 'receiver'] as const) {
      expect(() => checkFrames(receipt, { as, ...kept })).toThrow('and not its counts')
    }
  })
})
