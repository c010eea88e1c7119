import { RefusedError } from '@countersign/sdk'
import { expect, test } from 'vitest'
import { joinFailure } from './connect.ts'

const refused = (code: RefusedError['code']) =>
  new RefusedError(code, { known: true, status: 401, exchange: null, retryAfterMs: null })

test.each([
  ['CREDENTIAL_SPENT', 'has been used', /agent enroll planner.*another party enrolled/],
  ['CREDENTIAL_EXPIRED', 'has expired', /agent enroll planner.*clocks/],
  ['CREDENTIAL_REJECTED', 'refused this join string for planner', /--as.*agent enroll planner/],
] as const)('a join string refused by %s is explained, with what to do', (code, says, next) => {
  const failure = joinFailure('planner', refused(code))
  expect(failure).toMatchObject({ exit: 'refused', message: expect.stringContaining(says) })
  expect(failure?.message).toContain(code)
  expect(failure?.next).toMatch(next)
})

test('any other failure is not one of the join string', () => {
  expect(joinFailure('planner', refused('RATE_LIMITED'))).toBeNull()
  expect(joinFailure('planner', new Error('x'))).toBeNull()
})
