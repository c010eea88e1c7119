import type { AdminArgs } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { aboutOperation } from './about-operation.ts'
import { OPERATIONS } from './operations.ts'

type Name = keyof typeof OPERATIONS
const names = Object.keys(OPERATIONS) as Name[]

const exchange = 'exc_a_01890000000070008000000000000000'
const approval = 'apr_01890000000070008000000000000000'
/** Arguments and the object that the record gives; an operation without a row does not compile. */
const samples: {
  readonly [Each in Name]: readonly [args: AdminArgs<Each>, object: string | undefined]
} = {
  status: [{}, undefined],
  'agent.list': [{}, undefined],
  'agent.show': [{ name: 'pay' }, 'pay'],
  'agent.enroll': [{ name: 'pay', roles: ['caller'] }, 'pay'],
  'agent.quarantine': [{ name: 'pay', reason: 'leaked key' }, 'pay'],
  'agent.restore': [{ name: 'pay', reason: 'leaked key' }, 'pay'],
  'agent.revoke': [{ name: 'pay', reason: 'leaked key' }, 'pay'],
  'key.create': [{ agent: 'pay' }, 'pay'],
  'key.list': [{}, undefined],
  'key.revoke': [{ prefix: 'abcd1234' }, 'abcd1234'],
  'activity.show': [{ name: 'pay' }, undefined],
  'backup.make': [{ slot: 'b' }, 'b'],
  'key.rotate': [{ key: 'tokens' }, 'tokens'],
  'policy.show': [{}, undefined],
  'policy.put': [{ name: 'a.cedar', text: 'secret' }, 'a.cedar'],
  'policy.explain': [{ exchange }, exchange],
  'approval.list': [{}, undefined],
  'approval.show': [{ id: approval }, approval],
  'approval.approve': [{ id: approval, reason: 'agreed' }, approval],
  'approval.deny': [{ id: approval, reason: 'too much' }, approval],
  'channel.list': [{}, undefined],
  'channel.create': [{ name: 'orders', members: ['pay'] }, 'orders'],
  'channel.members': [{ name: 'orders', members: [] }, 'orders'],
  'channel.dead': [{ name: 'orders' }, 'orders'],
  'channel.redrive': [{ name: 'orders', group: 'workers', offset: 7 }, 'orders workers 7'],
  'ledger.read': [{ countMax: 5 }, undefined],
  'ledger.find': [{ caller: 'a' }, undefined],
  'ledger.recent': [{ countMax: 5 }, undefined],
  'ledger.check': [{}, undefined],
  'ledger.subject': [{ subject: 'weather' }, undefined],
  'ledger.retention': [{}, undefined],
  'ledger.prune': [{ slot: 'b', reason: 'disk' }, 'b'],
  'ledger.erase': [{ subject: 'weather', reason: 'asked for' }, undefined],
  'route.list': [{}, undefined],
  'route.put': [{ name: 'pay', upstream: 'https://user:secret@pay.test/' }, 'pay'],
  'route.delete': [{ name: 'pay' }, 'pay'],
}

describe('the object of an administrative operation on record', () => {
  test('every operation that changes something has an object', () => {
    const nameless = names.filter((each) => {
      const { action, object } = OPERATIONS[each]
      // The name of an erased principal would make this record unreadable too.
      return each !== 'ledger.erase' && action === 'administer' && object.length === 0
    })
    expect(nameless).toEqual([])
  })

  test.each(Object.entries(samples))('%s', (operation, [args, object]) => {
    const { reason } = args as { readonly reason?: string }
    const given = { ...(object === undefined ? {} : { object }), ...(reason ? { reason } : {}) }
    expect(aboutOperation(operation, args)).toEqual(given)
  })

  test('is nothing but an object in its own form, and a bounded reason, whatever the arguments', () => {
    const words = fc.oneof(fc.string({ unit: 'binary', maxLength: 700 }), fc.constant('a b'))
    const args = fc.oneof(
      fc.anything(),
      fc.dictionary(
        fc.constantFrom('name', 'agent', 'prefix', 'exchange', 'reason', 'text'),
        words,
      ),
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...names, 'agent.own', 'constructor'),
        args,
        (operation, each) => {
          const { object = 'x', reason = '', ...others } = aboutOperation(operation, each)
          expect(others).toEqual({})
          expect(object).toMatch(/^[A-Za-z0-9._-]+$/)
          expect(reason.length).toBeLessThanOrEqual(500)
          expect(reason.isWellFormed()).toBe(true)
        },
      ),
    )
  })

  test('is nothing for names that are none, which could imitate a reason or hold a secret', () => {
    for (const name of ['pay because "leaked"', 'a'.repeat(100), '', 7, null]) {
      expect(aboutOperation('agent.show', { name })).toEqual({})
      expect(aboutOperation('key.revoke', { prefix: name })).toEqual({})
    }
    expect(aboutOperation('key.revoke', { prefix: 'cs_abcd_s3cr3t' })).toEqual({})
    expect(aboutOperation('agent.own', { name: 'pay', reason: 'x' })).toEqual({})
    expect(aboutOperation('status', { name: 'pay', reason: 'x' })).toEqual({})
  })
})
