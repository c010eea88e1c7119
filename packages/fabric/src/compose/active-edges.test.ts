import type { EntryKind, FactValue } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { agentKey } from '../../../../test/harness/principals.ts'
import { Activity } from '../observe/activity.ts'
import { ActiveEdges } from './active-edges.ts'

const start = Date.UTC(2026, 2, 2, 8)

type Facts = Readonly<Record<string, FactValue>>

function follower() {
  const activity = new Activity()
  const edges = new ActiveEdges(activity, 'a.test')
  let index = 0
  const take = (kind: EntryKind, exchange: string, facts: Facts, at = start): void =>
    edges.apply({ kind, exchange, at, facts, index: index++ })
  const shown = () =>
    activity
      .read('hour', start)
      .edges.map(({ caller, kind, receiver, delivered, refused, failed, unknown }) =>
        [caller, kind, receiver, delivered, refused, failed, unknown].join(' '),
      )
      .toSorted()
  return { activity, edges, take, shown }
}

const call = { caller: agentKey('shop'), 'caller.method': 'certificate', receiver: 'billing' }
const met = { ...call, transport: 'mesh', producer: agentKey('billing') }

test('an exchange counts once, with its ending, for the edge that is proven', () => {
  const { take, shown, activity } = follower()
  take('intent', 'e1', { ...call, 'request.bytes': 7 })
  take('outcome', 'e1', { result: 'delivered', 'response.bytes': 5 }, start + 30)
  take('intent', 'e2', { ...met, 'attested.request': 'caller' })
  // The caller's side of the same exchange.
  take('refusal', 'e2', { ...call, producer: call.caller, code: 'X', result: 'unknown' })
  take('indeterminate', 'e2', { result: 'unknown' })
  take('intent', 'e3', { ...call, receiver: agentKey('vault') })
  take('outcome', 'e3', { result: 'broken', code: 'X' })
  take('refusal', 'e4', { ...call, code: 'NOT_PERMITTED' })
  take('refusal', 'e5', { ...call, receiver: 'made-up', code: 'RECEIVER_UNKNOWN' })
  take('refusal', 'e6', { ...call, receiver: 'Not A Name', code: 'NOT_PERMITTED' })
  take('intent', 'e7', { ...call, protocol: 'queue', receiver: 'orders' })
  take('outcome', 'e7', { result: 'delivered' })
  expect(shown()).toEqual([
    'shop agent (unknown) 0 2 0 0',
    'shop agent billing 1 1 0 1',
    'shop agent vault 0 0 1 0',
    'shop channel orders 1 0 0 0',
  ])
  const edge = activity.read('hour', start).edges.find(({ receiver }) => receiver === 'billing')
  expect(edge).toMatchObject({ requestBytes: 7, responseBytes: 5 })
  expect(edge?.latency).toMatchObject({ longest: 30 })
})

test('administration, and edges that a connector or a stranger could make up, do not count', () => {
  const { take, shown } = follower()
  take('intent', 'e1', { ...call, protocol: 'admin', receiver: 'fabric' })
  take('outcome', 'e1', { result: 'delivered' })
  take('intent', 'e2', { ...met, 'attested.request': 'connector' })
  take('outcome', 'e2', { result: 'delivered' })
  const { 'caller.method': _, ...unproven } = call
  take('refusal', 'e3', { ...unproven, code: 'CREDENTIAL_INVALID' })
  take('outcome', 'never-begun', { result: 'delivered' })
  take('lifecycle', 'e4', { event: 'started' })
  expect(shown()).toEqual([])
})

test('a restart goes on with open exchanges, and an erased subject is gone everywhere', () => {
  const { edges, take } = follower()
  take('intent', 'e1', call)
  take('intent', 'e2', { ...call, caller: agentKey('courier'), receiver: 'vault' })
  take('intent', 'e3', { ...call, caller: agentKey('courier'), receiver: 'shop' })
  take('refusal', 'e4', { ...call, code: 'NOT_PERMITTED' })
  take('refusal', 'e5', { ...call, caller: agentKey('vault'), receiver: agentKey('shop') })
  take('refusal', 'e6', { ...call, caller: agentKey('vault'), receiver: 'billing' })
  const next = follower()
  next.edges.restore([...edges.lines()])
  expect([...next.edges.lines()]).toEqual([...edges.lines()])
  for (const _ of next.edges.forget((name) => name === 'shop'));
  expect([...next.edges.lines()].join('\n')).not.toContain('shop')
  next.take('outcome', 'e2', { result: 'delivered' })
  next.take('outcome', 'e3', { result: 'delivered' })
  expect(next.shown()).toEqual(['courier agent vault 1 0 0 0', 'vault agent billing 0 1 0 0'])
  expect(() => next.edges.restore(['{"format":"countersign-activity-0","open":0}'])).toThrow()
})
