import { expect, test } from 'vitest'
import { certified } from '../../../../test/harness/certified.ts'
import { signingKey } from '../../../../test/harness/sdk-authority.ts'
import { CertifiedKeys } from './certified-keys.ts'

const trustDomain = 'acme.test'
const overlapMs = 100_000

function opened() {
  const certifier = signingKey()
  let at = 0
  const clock = { now: () => Date.now(), monotonic: () => at }
  const keys = new CertifiedKeys({ trustDomain, slotKey: certifier.publicKey }, clock, overlapMs)
  return {
    advance: (ms: number) => {
      at += ms
    },
    certify: (serial: number, slot = 'a') =>
      certified(certifier, signingKey(), { trustDomain, serial, slot }),
    find: ({ keyId, certificate }: { keyId: string; certificate: string }, slot = 'a') =>
      keys.find({ purpose: 'forward', keyId, slot, certificate }),
  }
}

test('a key that was replaced is accepted for what was under way, and then not any more', () => {
  const { certify, find, advance } = opened()
  const [old, next] = [certify(1), certify(2)]
  expect(find(old)).toEqual(old.publicKey)
  advance(10 * overlapMs)
  expect(find(old)).toEqual(old.publicKey)
  expect(find(next)).toEqual(next.publicKey)
  advance(overlapMs)
  expect(find(old)).toEqual(old.publicKey)
  advance(1)
  expect(find(old)).toBe('the key was replaced')
  expect(find(next)).toEqual(next.publicKey)
})

test('an older certification than one that was seen is refused at once', () => {
  const { certify, find } = opened()
  const [older, old, next] = [certify(1), certify(2), certify(3)]
  find(old)
  find(next)
  expect(find(older)).toBe('the key was replaced')
  expect(find(old)).toEqual(old.publicKey)
})

test('of two certifications with one serial, the first one seen is the one', () => {
  const { certify, find } = opened()
  const [first, second] = [certify(1), certify(1)]
  expect(find(first)).toEqual(first.publicKey)
  expect(find(second)).toBe('the key was replaced')
})

test('each log slot has a newest key of its own', () => {
  const { certify, find } = opened()
  const [a, b] = [certify(2), certify(1, 'b')]
  expect(find(a)).toEqual(a.publicKey)
  expect(find(b, 'b')).toEqual(b.publicKey)
  expect(find(b)).toBe('the key is of the log slot b')
})

test('what is not a certificate is refused', () => {
  const { certify, find } = opened()
  const good = certify(1)
  for (const certificate of [
    '',
    '.',
    `${good.certificate}.`,
    good.certificate.slice(1),
    'a'.repeat(9_999),
  ]) {
    expect(typeof find({ ...good, certificate })).toBe('string')
  }
})
