import { describe, expect, test } from 'vitest'
import { agentKey } from '../../../../test/harness/principals.ts'
import { byOthersMax } from '../detection/detectors.ts'
import type { EntryDraft } from '../ledger/ledger.ts'
import { composeDetection } from './detection.ts'
import { ObservedEntries } from './observed-entries.ts'

const start = Date.UTC(2026, 2, 2)
const caller = 'spiffe://a.test/agent/shop'
const receiver = 'spiffe://a.test/agent/billing'

function openObserver() {
  let now = start
  const detection = composeDetection()
  const observed = new ObservedEntries(detection, 'a.test')
  let count = 0
  const entry = (kind: EntryDraft['kind'], facts: EntryDraft['facts'], exchange?: string) => {
    now += 100
    count += 1
    observed.apply({ kind, exchange: exchange ?? `exc_${count}`, at: now, facts, index: count })
  }
  return { entry, risk: (agent: string) => detection.riskOf(agentKey(agent), now).score }
}

const signed = { caller, receiver: 'billing', 'attested.request': 'caller', producer: receiver }

describe('entries that connectors record', () => {
  test('raises the risk of an agent that its own connector refused [detection:risk@mesh]', () => {
    const { entry, risk } = openObserver()
    const facts = { caller, producer: caller, receiver: 'billing', code: 'NOT_PERMITTED' }
    for (let i = 0; i < 120; i++) entry('refusal', facts)
    expect(risk('shop')).toBeGreaterThanOrEqual(50)
  })

  test('raises nothing for a receiver that could not be reached', () => {
    const { entry, risk } = openObserver()
    const facts = { caller, producer: caller, receiver: 'billing', code: 'RECEIVER_UNREACHABLE' }
    for (let i = 0; i < 120; i++) entry('refusal', facts)
    expect(risk('shop')).toBe(0)
  })

  test('raises nothing for a caller that only another connector names', () => {
    const { entry, risk } = openObserver()
    const facts = { caller, producer: receiver, receiver: 'billing', code: 'NOT_PERMITTED' }
    for (let i = 0; i < 120; i++) entry('refusal', facts)
    expect(risk('shop')).toBe(0)
  })

  test('counts the sizes that it states, of another agent with little weight', () => {
    const { entry, risk } = openObserver()
    for (let i = 0; i < 200; i++) entry('intent', { ...signed, 'request.bytes': 4_194_304 })
    expect(risk('shop')).toBeGreaterThan(0)
    expect(risk('shop')).toBeLessThan(20)
  })

  test('counts a response for both ends: its size, and the credentials that it adds', () => {
    const { entry, risk } = openObserver()
    for (let i = 0; i < 100; i++) {
      const exchange = `exc_own_${i}`
      entry('intent', { ...signed, 'request.bytes': 10 }, exchange)
      const facts = { 'response.bytes': 4_194_304, 'response.masked': 'credential:1' }
      entry('outcome', facts, exchange)
    }
    expect(risk('shop')).toBeGreaterThan(0)
    expect(risk('billing')).toBeGreaterThan(0)
    expect(Math.max(risk('shop'), risk('billing'))).toBeLessThan(50)
  })

  test('does not blame a receiver for credentials that its caller sent', () => {
    const { entry, risk } = openObserver()
    for (let i = 0; i < 20; i++) {
      const exchange = `exc_echo_${i}`
      entry('intent', { ...signed, masked: 'credential:1' }, exchange)
      entry('outcome', { 'response.masked': 'credential:1' }, exchange)
    }
    expect(risk('billing')).toBe(0)
  })

  test('of another agent, counts nothing in full but the message that it signed [detection:risk@mesh]', () => {
    const { entry, risk } = openObserver()
    const masked = 'credential:999999999 card:999999999'
    for (let i = 0; i < 120; i++) entry('intent', { ...signed, operation: 'known' })
    for (let i = 0; i < 400; i++) {
      const exchange = `exc_made_up_${i}`
      const facts = { operation: `made/up/${i}`, masked, 'request.bytes': 2 ** 40 }
      entry('intent', { ...signed, ...facts }, exchange)
      entry('outcome', { 'response.bytes': 2 ** 40, 'response.masked': masked }, exchange)
    }
    expect(risk('shop')).toBeGreaterThan(0)
    expect(risk('shop')).toBeLessThanOrEqual(byOthersMax)
  })

  test('knows an agent’s own connector by the agent, whichever instance it names', () => {
    const { entry, risk } = openObserver()
    const facts = { caller: `${caller}/prod`, producer: `${caller}/other`, receiver: 'billing' }
    for (let i = 0; i < 120; i++) entry('refusal', { ...facts, code: 'NOT_PERMITTED' })
    expect(risk('shop')).toBeGreaterThanOrEqual(50)
  })
})
