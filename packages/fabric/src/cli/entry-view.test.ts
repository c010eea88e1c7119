import type { EntryView, ExchangeView } from '@countersign/protocol'
import { expect, test } from 'vitest'
import {
  columnsOf,
  createEntryCompletion,
  entryRow,
  exchangeRow,
  kindOf,
  operationOf,
  resultOf,
} from './entry-view.ts'
import { plainPaint } from './output/paint.ts'
import { formatTable } from './output/table.ts'

const intent: EntryView = {
  kind: 'intent',
  exchange: 'exc_1',
  index: 7,
  at: 0,
  facts: { receiver: 'billing', operation: 'tools/call', tool: 'refund', protocol: 'mcp' },
  ...{
    caller: 'support',
    principal: 'support',
    object: null,
    reason: null,
    changedBy: null,
    producer: null,
    ended: null,
  },
}
const outcome: EntryView = {
  kind: 'outcome',
  exchange: 'exc_1',
  index: 8,
  at: 1,
  facts: { result: 'delivered', status: 200 },
  ...{ caller: null, principal: null, object: null, reason: null, changedBy: null, producer: null },
  ended: { result: 'delivered', code: null, reason: null },
}

test('a closing entry is shown with its caller and operation', () => {
  const complete = createEntryCompletion()
  complete(intent)
  const told = complete(outcome)
  expect(told).toMatchObject({ kind: 'outcome', index: 8, caller: 'support' })
  expect(operationOf(told)).toBe('tools/call refund')
  expect(resultOf(told)).toBe('delivered')
})

test('a narrow terminal shows the recorder where it is not the fabric for every entry', () => {
  const headOf = (entries: readonly ExchangeView[]): string | undefined =>
    formatTable(
      { columns: columnsOf(entries), rows: entries.map(exchangeRow) },
      { width: 80, paint: plainPaint },
    ).split('\n')[0]
  const exchange = 'exc_a_01a220a40b9073cfb9db23fb7535f620'
  const entries = [intent, outcome].map((entry) => ({ ...entry, exchange, durationMs: 7 }))
  expect(headOf(entries)).not.toContain('reco')
  expect(headOf(entries)).toContain('operation')
  expect(
    headOf([...entries, { ...outcome, exchange, producer: 'billing', durationMs: 7 }]),
  ).toContain('reco')
})

test('an exchange that was opened before the listening began stays unknown', () => {
  expect(createEntryCompletion()(outcome)).toEqual(outcome)
  expect(entryRow(outcome).slice(4, 7)).toEqual(['-', '-', { phrase: '-' }])
})

test('an exchange that never ends is forgotten in time', () => {
  const complete = createEntryCompletion()
  complete(intent)
  for (let n = 0; n < 1_000; n++) complete({ ...intent, exchange: `exc_other_${n}` })
  expect(complete(outcome).caller).toBeNull()
})

test('an intent is a permission, and a refusal is its code', () => {
  expect(resultOf(intent)).toBe('permitted')
  const ended = { result: 'refused', code: 'NOT_PERMITTED', reason: null } as const
  const refused = { ...outcome, kind: 'refusal', facts: { code: 'NOT_PERMITTED' }, ended }
  expect([kindOf(refused), resultOf(refused)]).toEqual(['refusal', 'NOT_PERMITTED'])
})

test('an unknown outcome is shown as unknown, whatever kind of entry records it', () => {
  const ended = { result: 'unknown', code: 'OUTCOME_UNKNOWN', reason: null } as const
  for (const kind of ['indeterminate', 'refusal', 'outcome']) {
    const unknown = { ...outcome, kind, ended }
    expect([kindOf(unknown), resultOf(unknown)]).toEqual(['indeterminate', 'unknown'])
  }
  const restarted = { ...outcome, kind: 'indeterminate', ended: { ...ended, reason: 'restart' } }
  expect(resultOf(restarted)).toBe('unknown: restart')
})

test('a response that was withheld is not a refusal, though its connector records it as one', () => {
  const ended = { result: 'withheld', code: 'RESPONSE_REJECTED', reason: null } as const
  const withheld = { ...outcome, kind: 'refusal', ended }
  expect([kindOf(withheld), resultOf(withheld)]).toEqual(['outcome', 'withheld: RESPONSE_REJECTED'])
})

test('a lifecycle entry names its principal or object, an administrative one object and reason', () => {
  const lifecycle = { ...outcome, kind: 'lifecycle', ended: null }
  const enrolled = { ...lifecycle, principal: 'planner', facts: { event: 'enrolled' } }
  expect(entryRow(enrolled).slice(4, 7)).toEqual(['planner', '-', { phrase: 'enrolled' }])
  const change = { object: 'a.cedar', changedBy: 'exc_7', facts: { event: 'policies-changed' } }
  expect(entryRow({ ...lifecycle, ...change })[6]).toEqual({
    phrase: 'policies-changed a.cedar by exc_7',
  })
  const about = { object: 'planner', reason: 'leaked key' }
  const facts = { operation: 'agent.quarantine' }
  const asked = 'agent.quarantine planner because "leaked key"'
  const quarantine = { ...intent, ...about, facts }
  expect(operationOf(quarantine)).toBe(asked)
  const complete = createEntryCompletion()
  complete(quarantine)
  const ended = { result: 'unknown', code: 'OUTCOME_UNKNOWN', reason: 'restart' } as const
  const lost = complete({ ...outcome, kind: 'indeterminate', facts: { reason: 'restart' }, ended })
  expect([operationOf(lost), resultOf(lost)]).toEqual([asked, 'unknown: restart'])
})

test('a name from a caller or a connector is quoted unless it is a word', () => {
  const shown = (facts: EntryView['facts']) => operationOf({ ...intent, facts })
  expect(shown({ operation: 'agent.revoke billing because "leaked key"' })).toBe(
    '"agent.revoke billing because \\"leaked key\\""',
  )
  expect(shown({ operation: 'tools/call', tool: 'billing because "x"' })).toBe(
    'tools/call "billing because \\"x\\""',
  )
  const object = 'billing because "told to"'
  expect(operationOf({ ...intent, object, facts: { operation: 'agent.revoke' } })).toBe(
    'agent.revoke "billing because \\"told to\\""',
  )
})

test('every line names the connector that recorded it, or the fabric', () => {
  expect(entryRow(intent)[8]).toBe('fabric')
  expect(entryRow({ ...intent, producer: 'billing' })[8]).toBe('billing')
})
