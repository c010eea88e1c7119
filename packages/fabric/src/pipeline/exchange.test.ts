import { expect, test } from 'vitest'
import { extend, openExchange } from './exchange.ts'

const members = {
  ...{ presented: 1, id: 2, at: 3, transport: 4, target: 5, received: 6, signature: 7, left: 8 },
  ...{ caller: 9, signed: 10, decision: 11, question: 12, policyVersion: 13, quota: 14 },
  ...{ forwardable: 15, findings: 16, approval: 17 },
}

test('a result adds members, and the exchange before it stays as it was', () => {
  const first = openExchange({ id: 'exc_1' })
  const second = extend(first, { caller: 'support' })
  expect(second).toMatchObject({ id: 'exc_1', caller: 'support' })
  expect(first).toMatchObject({ id: 'exc_1', caller: undefined })
})

test('every member of an exchange is in the exchange of the next stage', () => {
  expect(extend(openExchange(members), { intent: 18 })).toMatchObject({ ...members, intent: 18 })
})

test('a member of an exchange cannot be changed', () => {
  const exchange = extend(openExchange({ id: 'exc_1' }), { caller: 'support' })
  expect(() => Object.assign(exchange, { caller: 'other' })).toThrow(TypeError)
  expect(exchange.caller).toBe('support')
})

test('a cast does not make an exchange that a stage accepts', () => {
  const exchange = openExchange({ id: 'exc_1' })
  const copy = Object.assign({}, exchange) as typeof exchange
  const like = Object.create(exchange) as typeof exchange
  for (const forged of [copy, like]) {
    expect(() => extend(forged, { caller: 'other' })).toThrow(TypeError)
  }
})
