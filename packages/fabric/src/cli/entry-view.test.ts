import { expect, test } from 'vitest'
import {
  createEntryCompletion,
  type EntryView,
  entryRow,
  operationOf,
  resultOf,
} from './entry-view.ts'

const intent: EntryView = {
  kind: 'intent',
  exchange: 'dec_1',
  index: 7,
  at: 0,
  facts: { receiver: 'billing', operation: 'tools/call', tool: 'refund', protocol: 'mcp' },
  caller: 'support',
}
const outcome: EntryView = {
  kind: 'outcome',
  exchange: 'dec_1',
  index: 8,
  at: 1,
  facts: { result: 'delivered', status: 200 },
  caller: null,
}

test('a closing entry is told of whom it is about', () => {
  const complete = createEntryCompletion()
  complete(intent)
  const told = complete(outcome)
  expect(told).toMatchObject({ kind: 'outcome', index: 8, caller: 'support' })
  expect(operationOf(told)).toBe('tools/call refund')
  expect(resultOf(told)).toBe('delivered')
})

test('what was opened before the listening began stays unknown', () => {
  expect(createEntryCompletion()(outcome)).toEqual(outcome)
  expect(entryRow(outcome).slice(3, 6)).toEqual(['-', '-', '-'])
})

test('an exchange that never ends is forgotten in time', () => {
  const complete = createEntryCompletion()
  complete(intent)
  for (let n = 0; n < 1_000; n++) complete({ ...intent, exchange: `dec_other_${n}` })
  expect(complete(outcome).caller).toBeNull()
})

test('an intent is a permission, and a refusal is its code', () => {
  expect(resultOf(intent)).toBe('permitted')
  expect(resultOf({ ...outcome, kind: 'refusal', facts: { code: 'NOT_PERMITTED' } })).toBe(
    'NOT_PERMITTED',
  )
})

test('a lifecycle entry names its principal or object, an administrative one object and reason', () => {
  const lifecycle = { ...outcome, kind: 'lifecycle' }
  const agent = 'spiffe://countersign.local/agent/planner'
  const enrolled = entryRow({ ...lifecycle, facts: { event: 'enrolled', agent } })
  expect(enrolled.slice(3, 6)).toEqual(['planner', '-', 'enrolled'])
  const changed = { event: 'policies-changed', 'policy.version': 'abc' }
  expect(entryRow({ ...lifecycle, facts: changed })[5]).toBe('policies-changed abc')
  const facts = { operation: 'agent.quarantine', object: 'planner', reason: 'leaked key' }
  expect(operationOf({ ...outcome, facts })).toBe('agent.quarantine planner (leaked key)')
})
