import { expect, test } from 'vitest'
import { extend, openExchange } from './exchange.ts'

test('a result adds members, and the exchange before it stays as it was', () => {
  const first = openExchange({ id: 'exc_1' })
  const second = extend(first, { caller: 'support' })
  expect(Object.entries(second)).toEqual([
    ['id', 'exc_1'],
    ['caller', 'support'],
  ])
  expect(Object.entries(first)).toEqual([['id', 'exc_1']])
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
