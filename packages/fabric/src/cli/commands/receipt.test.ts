import { RefusedError } from '@countersign/sdk'
import { expect, test } from 'vitest'
import { whyNone } from './receipt.ts'

const exchange = 'exc_a_01890000000070008000000000000000'
const refused = (code: RefusedError['code']) =>
  new RefusedError(code, { known: true, status: 404, exchange: 'exc_1', retryAfterMs: null })

test.each([
  ['EXCHANGE_UNKNOWN', 'no', 'is not on record here'],
  ['EXCHANGE_OPEN', 'pending', 'is still open, so it has no receipt yet'],
  ['NOT_PERMITTED', 'refused', 'may not see a receipt of'],
] as const)('%s ends with its own code and sentence', (code, exit, says) => {
  const failure = whyNone(refused(code), exchange)
  expect(failure).toMatchObject({ exit, message: expect.stringContaining(says) })
  expect(failure).toHaveProperty('message', expect.stringContaining(exchange))
})

test('the next step names an option that the command has', () => {
  expect(whyNone(refused('NOT_PERMITTED'), exchange)).toMatchObject({
    next: expect.stringContaining('--identity <folder>'),
  })
})

test('any other failure stays what it is', () => {
  const other = refused('RATE_LIMITED')
  expect(whyNone(other, exchange)).toBe(other)
})
