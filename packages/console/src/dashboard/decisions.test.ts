import { describe, expect, test } from 'vitest'
import { type EntryView, mergeDecision } from './decisions.ts'

const intent: EntryView = {
  kind: 'intent',
  exchange: 'dec_1',
  at: 5,
  caller: 'support',
  facts: {
    receiver: 'billing',
    operation: 'tools/call',
    tool: 'refund',
    transport: 'mesh',
    masked: 'card:1',
  },
}
const outcome = (facts: EntryView['facts']): EntryView => ({
  kind: 'outcome',
  exchange: 'dec_1',
  at: 9,
  caller: null,
  facts,
})

describe('mergeDecision', () => {
  test('an outcome completes the line of its intent and keeps what the intent said', () => {
    const facts = { result: 'delivered', 'attested.response': 'callee' }
    const [line, ...others] = mergeDecision(mergeDecision([], intent), outcome(facts))
    expect(others).toEqual([])
    expect(line).toEqual({
      exchange: 'dec_1',
      at: 5,
      caller: 'support',
      receiver: 'billing',
      operation: 'tools/call refund',
      transport: 'mesh',
      masked: 'card:1',
      outcome: 'delivered, countersigned',
      tone: 'good',
    })
  })

  test('a cut stream is shown with its code', () => {
    const [line] = mergeDecision([], outcome({ result: 'cut', code: 'WITHDRAWN' }))
    expect(line).toMatchObject({ outcome: 'cut: WITHDRAWN', tone: 'bad' })
  })

  test('the newest exchange is on top', () => {
    const later = { ...intent, exchange: 'dec_2', at: 6 }
    const lines = mergeDecision(mergeDecision([], later), intent)
    expect(lines.map(({ exchange }) => exchange)).toEqual(['dec_2', 'dec_1'])
  })
})
