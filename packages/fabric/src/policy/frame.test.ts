import { describe, expect, test } from 'vitest'
import { EvaluationError } from './evaluation-error.ts'
import { attributeOf, CONTEXT_FIELDS, Frame, hasTag, isIn, tagOf } from './frame.ts'
import type { PolicyRequest } from './policy.ts'
import { EntityValue } from './values.ts'

function frameOf(changes: Partial<PolicyRequest['principal']> = {}, time = 0): Frame {
  const nobody = { name: 'a', roles: [], segment: 'blue', attributes: {} }
  return new Frame({
    principal: { kind: 'agent', ...nobody, ...changes },
    action: 'call',
    resource: { kind: 'agent', ...nobody, name: 'b' },
    context: {
      transport: 'mesh',
      protocol: 'http',
      operation: 'GET',
      tool: '',
      method: 'certificate',
      signed: false,
      risk: 0,
      labels: [],
      time,
    },
  })
}

describe('the facts that a policy can see', () => {
  test('a role and a segment of the same name are two things', () => {
    const frame = frameOf({ roles: ['x'], segment: 'y' })
    const isPrincipalIn = (type: string, id: string) =>
      isIn(frame, frame.principal, new EntityValue(type, id))
    expect([isPrincipalIn('Role', 'x'), isPrincipalIn('Segment', 'y')]).toEqual([true, true])
    expect([isPrincipalIn('Role', 'y'), isPrincipalIn('Segment', 'x')]).toEqual([false, false])
  })

  test('attributes from a prototype, polluted or not, are none', () => {
    const frame = frameOf({ attributes: Object.create({ team: 'a' }) })
    expect(hasTag(frame, frame.principal, 'team')).toBe(false)
    expect(hasTag(frame, frame.principal, 'constructor')).toBe(false)
    expect(() => tagOf(frame, frame.principal, 'team')).toThrow(EvaluationError)
  })

  test('an attribute is found by its own type only', () => {
    const frame = frameOf({ attributes: { team: 'a', level: 3, vip: true } })
    const places = ['self', 'numbers', 'flags'].map((name) => {
      const entity = name === 'self' ? frame.principal : attributeOf(frame, frame.principal, name)
      if (!(entity instanceof EntityValue)) throw new Error(`${name} is no entity`)
      return ['team', 'level', 'vip'].filter((key) => hasTag(frame, entity, key))
    })
    expect(places).toEqual([['team'], ['level'], ['vip']])
  })

  test('of an entity that is neither principal nor resource nothing is known', () => {
    const frame = frameOf({ roles: ['x'], attributes: { team: 'a' } })
    const named = (id: string) => new EntityValue('Agent', id)
    expect(hasTag(frame, named('a'), 'team')).toBe(true)
    expect(hasTag(frame, named('c'), 'team')).toBe(false)
    expect(isIn(frame, named('c'), new EntityValue('Role', 'x'))).toBe(false)
  })

  test.each([
    ['1970-01-01T00:00:00Z', 4],
    ['1969-12-28T23:59:59Z', 7],
    ['2024-02-29T12:00:00Z', 4],
    ['2026-11-23T00:00:00Z', 1],
  ])('%s is weekday %i', (date, weekday) => {
    const frame = frameOf({}, Date.parse(date) / 1000)
    expect(CONTEXT_FIELDS.get('weekday')?.(frame)).toBe(weekday)
  })
})
