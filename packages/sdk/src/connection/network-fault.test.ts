import { expect, test } from 'vitest'
import { describeNetworkFault } from './network-fault.ts'

const withCode = (code: string) => Object.assign(new Error('raw message'), { code })

test('a known code is explained, and stays searchable', () => {
  expect(describeNetworkFault(withCode('ECONNREFUSED'))).toBe(
    'nothing listens at that address, ECONNREFUSED',
  )
})

test('an unknown code stands alone, also one that every object inherits', () => {
  expect(describeNetworkFault(withCode('ESOMETHING'))).toBe('ESOMETHING')
  expect(describeNetworkFault(withCode('constructor'))).toBe('constructor')
})

test('an error without a code keeps its message', () => {
  expect(describeNetworkFault(new Error('no answer in time'))).toBe('no answer in time')
})
