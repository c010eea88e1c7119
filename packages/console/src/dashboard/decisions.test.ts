import type { EntryView, ExchangeResult } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { mergeDecision } from './decisions.ts'

const intent: EntryView = {
  kind: 'intent',
  exchange: 'exc_1',
  ...{ index: 0, at: 5, caller: 'support' },
  principal: 'support',
  ...{ object: null, reason: null, changedBy: null, producer: null, ended: null },
  facts: {
    receiver: 'billing',
    operation: 'tools/call',
    tool: 'refund',
    transport: 'mesh',
    masked: 'card:1',
  },
}
const closing = (
  result: ExchangeResult,
  code: string | null = null,
  facts: EntryView['facts'] = {},
): EntryView => ({
  kind: 'outcome',
  exchange: 'exc_1',
  ...{ index: 1, at: 9, caller: null },
  ...{ principal: null, object: null, reason: null, changedBy: null, producer: null },
  ended: { result, code, reason: null },
  facts,
})

describe('mergeDecision', () => {
  test('an outcome completes the line of its intent and keeps the fields of the intent', () => {
    const signed = closing('delivered', null, { 'attested.response': 'callee' })
    const [line, ...others] = mergeDecision(mergeDecision([], intent), signed)
    expect(others).toEqual([])
    expect(line).toEqual({
      exchange: 'exc_1',
      at: 5,
      caller: 'support',
      receiver: 'billing',
      operation: 'tools/call refund',
      transport: 'mesh',
      masked: 'card:1',
      outcome: 'delivered, countersigned',
      tookMs: 4,
      recordedBy: 'fabric',
      tone: 'good',
    })
  })

  test('a whole exchange of a list has its own duration, and a lone entry has none', () => {
    const whole = { ...intent, ...closing('delivered'), at: 5, durationMs: 1_200 }
    expect(mergeDecision([], whole)[0]).toMatchObject({ outcome: 'delivered', tookMs: 1_200 })
    expect(mergeDecision([], intent)[0]?.tookMs).toBeNull()
    expect(mergeDecision([], closing('refused', 'NOT_PERMITTED'))[0]?.tookMs).toBeNull()
    expect(mergeDecision(mergeDecision([], whole), { ...whole, durationMs: null })[0]?.tookMs).toBe(
      null,
    )
  })

  test('a cut stream is shown with its code', () => {
    const [line] = mergeDecision([], closing('cut', 'WITHDRAWN'))
    expect(line).toMatchObject({ outcome: 'cut: WITHDRAWN', tone: 'bad' })
  })

  test('an unknown outcome is unknown, whatever kind of entry records it', () => {
    const restarted = { result: 'unknown', code: 'OUTCOME_UNKNOWN', reason: 'restart' } as const
    const stopped = { ...closing('unknown', 'OUTCOME_UNKNOWN'), kind: 'indeterminate' }
    expect(mergeDecision([], { ...stopped, ended: restarted })[0]).toMatchObject({
      outcome: 'unknown: restart',
      tone: 'warn',
    })
    const lost = { ...closing('unknown', 'OUTCOME_UNKNOWN'), kind: 'refusal' }
    expect(mergeDecision([], lost)[0]).toMatchObject({ outcome: 'unknown', tone: 'warn' })
    const refused = { ...closing('refused', 'NOT_PERMITTED'), kind: 'refusal' }
    expect(mergeDecision([], refused)[0]).toMatchObject({ outcome: 'NOT_PERMITTED', tone: 'bad' })
  })

  test('administration names its object and reason, also while its end is not known', () => {
    const facts = { operation: 'agent.quarantine', receiver: 'fabric' }
    const asked = { ...intent, facts, object: 'billing', reason: 'leaked key' }
    const [line] = mergeDecision(mergeDecision([], asked), closing('unknown', 'OUTCOME_UNKNOWN'))
    expect(line).toMatchObject({ operation: 'agent.quarantine billing because "leaked key"' })
  })

  test('an event of administration is not shown as a success', () => {
    const facts = { event: 'approval-denied' }
    const [line] = mergeDecision([], { ...intent, kind: 'lifecycle', facts })
    expect(line).toMatchObject({ outcome: 'approval-denied', tone: 'warn' })
  })

  test('names the connector that recorded it, also when the fabric closed it', () => {
    const opened = mergeDecision([], { ...intent, producer: 'pay' })
    expect(opened[0]?.recordedBy).toBe('pay')
    const outcome = { ...closing('delivered'), producer: 'pay' }
    expect(mergeDecision(opened, outcome)[0]?.recordedBy).toBe('pay')
    const closed = mergeDecision(opened, closing('unknown', 'OUTCOME_UNKNOWN'))
    expect(closed[0]?.recordedBy).toBe('pay, fabric')
  })

  test('the newest exchange is on top', () => {
    const later = { ...intent, exchange: 'exc_2', at: 6 }
    const lines = mergeDecision(mergeDecision([], later), intent)
    expect(lines.map(({ exchange }) => exchange)).toEqual(['exc_2', 'exc_1'])
  })
})
