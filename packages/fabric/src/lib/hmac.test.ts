import { createHmac } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { hmacKey, hmacSha256 } from './hmac.ts'

const bytes = fc.uint8Array({ maxLength: 300 })

test('the code is the HMAC that everybody else computes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), bytes, (key, message) => {
      const theirs = createHmac('sha256', key).update(message).digest()
      expect(hmacSha256(key, message)).toEqual(theirs)
    }),
  )
  expect(() => hmacSha256(new Uint8Array(65), new Uint8Array(0))).toThrow(TypeError)
})

test('a key of any length has one of a block that stands for it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes, (key, message) => {
      const theirs = createHmac('sha256', key).update(message).digest()
      expect(hmacSha256(hmacKey(key), message)).toEqual(theirs)
    }),
  )
})
