import { describe, expect, test } from 'vitest'
import { formatHolderField, parseHolderField } from './exchange-holder.ts'

describe('the holder of an exchange', () => {
  test.each([
    { slot: 'b', address: 'https://replica-b.test:8443' },
    { slot: 'b1', address: 'https://[::1]:8443' },
    { slot: 'b', address: null },
  ])('is read as it was written: $slot $address', (holder) => {
    expect(parseHolderField(formatHolderField(holder))).toEqual(holder)
  })

  test.each([
    null,
    '',
    'B',
    '1',
    'abc',
    'b; address=',
    'b; address=http://replica-b.test',
    'b; address=https://replica-b.test/path',
    'b; address=https://user@replica-b.test',
    'b; address=https://replica-b.test:443',
    'b; address=https://a.test, c; address=https://b.test',
    `b; address=https://${'a'.repeat(300)}.test`,
  ])('is not read from %j', (text) => {
    expect(parseHolderField(text)).toBeNull()
  })
})
