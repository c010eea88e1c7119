import { expect, test } from 'vitest'
import { AgentError } from '../lib/fault.ts'
import { findRefusal, type RefusedError } from './refused.ts'
import { afterFirst } from './second-copy.ts'

function refused(code: string, mayHaveActed: boolean): RefusedError {
  const fields: Record<string, string> = {
    'countersign-refusal': code,
    'countersign-may-have-acted': String(mayHaveActed),
  }
  const refusal = findRefusal(429, (name) => fields[name] ?? null)
  if (refusal === null) throw new Error('it is a refusal')
  return refusal
}

test('a second copy that may have acted tells the outcome itself', () => {
  const second = new AgentError('OUTCOME_UNKNOWN', 'reset')
  expect(afterFirst(second)).toBe(second)
  const withheld = refused('RESPONSE_REJECTED', true)
  expect(afterFirst(withheld)).toBe(withheld)
})

test.each([
  ['a refusal before delivery', refused('RATE_LIMITED', false), 'RATE_LIMITED'],
  ['a fault before sending', new AgentError('FABRIC_UNREACHABLE'), 'FABRIC_UNREACHABLE'],
  ['any other failure', new Error('broken'), 'Error: broken'],
])('%s of the second copy does not make the request one to repeat', (_, second, named) => {
  const error = afterFirst(second)
  expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retry: false, mayHaveActed: true })
  expect(error.message).toContain(named)
  expect(error.cause).toBe(second)
})
