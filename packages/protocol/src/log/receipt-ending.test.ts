import { expect, test } from 'vitest'
import { endingOf } from './receipt-ending.ts'

test('an entry that states nothing, as one that was erased, has no ending and not a refused one', () => {
  for (const kind of ['outcome', 'refusal'] as const) expect(endingOf(kind, {})).toBeNull()
  expect(endingOf('refusal', { code: 'NOT_PERMITTED' })?.result).toBe('refused')
  expect(endingOf('outcome', { result: 'delivered' })?.result).toBe('delivered')
  for (const kind of ['intent', 'lifecycle', 'erasure', 'genesis'] as const) {
    expect(endingOf(kind, { result: 'delivered' })).toBeNull()
  }
})
