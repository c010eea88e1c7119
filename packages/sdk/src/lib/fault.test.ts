import { expect, test } from 'vitest'
import { AgentError, FAULTS, type FaultCode } from './fault.ts'

const codes = Object.keys(FAULTS) as FaultCode[]

test.each(codes)('%s states what happened and the next step', (code) => {
  const error = new AgentError(code, 'the detail')
  const { says, next } = FAULTS[code]
  expect(error.message).toBe(`${code}: ${says} (the detail). Next: ${next}.`)
  expect(error).toMatchObject({ name: 'AgentError', code, next })
  expect(new AgentError(code).message).toBe(`${code}: ${says}. Next: ${next}.`)
})

test('a fault that may follow an action of the receiver is never one to retry', () => {
  const errors = codes.map((code) => new AgentError(code))
  expect(errors.filter(({ retry, mayHaveActed }) => retry && mayHaveActed)).toEqual([])
  expect(errors.filter(({ retry }) => retry).map(({ code }) => code)).toEqual([
    'FABRIC_UNREACHABLE',
  ])
  expect(new AgentError('OUTCOME_UNKNOWN').mayHaveActed).toBe(true)
})

test('a cause is kept', () => {
  const cause = new Error('raw')
  expect(new AgentError('ANSWER_MALFORMED', '', { cause }).cause).toBe(cause)
})
