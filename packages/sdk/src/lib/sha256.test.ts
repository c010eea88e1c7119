import { createHash } from 'node:crypto'
import { utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { sha256 } from './sha256.ts'

test('a hash of parts is the hash of their concatenation', () => {
  const whole = new Uint8Array(createHash('sha256').update('abc').digest())
  expect(sha256(utf8('abc'))).toEqual(whole)
  expect(sha256(utf8('a'), utf8(''), utf8('bc'))).toEqual(whole)
  expect(sha256()).toEqual(new Uint8Array(createHash('sha256').digest()))
})
