import { createHash, createPrivateKey, sign } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toHex } from '../encoding/bytes.ts'
import { batchAlgorithm, messageBatchMax } from '../signatures/http-signature-base.ts'
import { type SignedBase, signMessageBatch, verifyMessage } from './message-batch.ts'

/** RFC 8032, section 7.1, test 1. */
const seed = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'
const publicKey = new Uint8Array(
  Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex'),
)
const privateKey = createPrivateKey({
  key: Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex'),
  format: 'der',
  type: 'pkcs8',
})
const signBytes = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey))
const hash = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

/** By WebCrypto as in a browser, and by the functions of a server. */
async function verifies(signed: SignedBase, key: Uint8Array = publicKey): Promise<boolean> {
  const inBrowser = await verifyMessage(key, signed)
  expect(await verifyMessage(key, signed, { hash })).toBe(inBrowser)
  return inBrowser
}

function batch(bases: readonly string[]): readonly SignedBase[] {
  const values = signMessageBatch(bases, { hash, sign: signBytes })
  return bases.map((base, at) => ({
    alg: batchAlgorithm,
    signature: values[at] ?? new Uint8Array(0),
    base,
  }))
}

const bases = fc.uniqueArray(fc.string({ maxLength: 40 }), {
  minLength: 2,
  maxLength: messageBatchMax,
})

test('each message of a batch verifies by its own value, and by no other one', async () => {
  await fc.assert(
    fc.asyncProperty(bases, fc.nat(), async (all, which) => {
      const signed = batch(all)
      for (const each of signed) expect(await verifies(each)).toBe(true)
      const [one, next] = [signed[which % all.length], signed[(which + 1) % all.length]]
      if (one === undefined || next === undefined) throw new Error('a batch has two messages')
      expect(await verifies({ ...one, base: next.base })).toBe(false)
      expect(await verifies({ ...one, base: `${one.base} ` })).toBe(false)
    }),
    { numRuns: 40 },
  )
})

test('a value with one bit flipped does not verify', async () => {
  await fc.assert(
    fc.asyncProperty(bases, fc.nat(), fc.nat(), async (all, which, bit) => {
      const one = batch(all)[which % all.length]
      if (one === undefined) throw new Error('a batch has two messages')
      const signature = one.signature.slice()
      const at = bit % (signature.length * 8)
      signature[at >> 3] = (signature[at >> 3] ?? 0) ^ (1 << (at & 7))
      expect(await verifies({ ...one, signature })).toBe(false)
    }),
    { numRuns: 200 },
  )
})

test('a path that is longer or shorter than that of its place does not verify', async () => {
  const signed = batch(['a', 'b', 'c', 'd', 'e'])
  for (const one of signed) {
    const { signature } = one
    const longer = new Uint8Array([...signature, ...new Uint8Array(32)])
    const shorter = signature.subarray(0, -32)
    const bare = signature.subarray(0, 66)
    for (const value of [longer, shorter, bare, signature.subarray(0, 64), new Uint8Array(0)]) {
      expect(await verifies({ ...one, signature: value })).toBe(false)
    }
  }
})

test('neither kind of signature verifies as the other', async () => {
  const [first] = batch(['"@method": GET', '"@method": PUT'])
  if (first === undefined) throw new Error('a batch has two messages')
  expect(await verifies({ ...first, alg: 'ed25519' })).toBe(false)
  const root = first.signature.subarray(0, 64)
  expect(await verifies({ ...first, alg: 'ed25519', signature: root })).toBe(false)
  const alone = signBytes(new TextEncoder().encode(first.base))
  expect(await verifies({ ...first, alg: 'ed25519', signature: alone })).toBe(true)
  expect(await verifies({ ...first, signature: alone })).toBe(false)
  // A place behind an ordinary signature does not make it one of a batch.
  const padded = new Uint8Array([...alone, 1, 0, ...new Uint8Array(32)])
  expect(await verifies({ ...first, signature: padded })).toBe(false)
})

test('another key, and bytes that are not a key, do not verify', async () => {
  const [first] = batch(['a', 'b'])
  if (first === undefined) throw new Error('a batch has two messages')
  expect(await verifies(first, hash(publicKey))).toBe(false)
  expect(await verifies(first, new Uint8Array(31))).toBe(false)
})

test('a batch has 2 to 32 messages', () => {
  expect(() => batch(['a'])).toThrow(RangeError)
  expect(() => batch(Array.from({ length: 33 }, (_, at) => `${at}`))).toThrow(RangeError)
})

test('the format has a vector', () => {
  const [first, , last] = batch(['"@method": GET', '"@method": PUT', '"@method": POST'])
  const digest = (signed: SignedBase | undefined) => toHex(hash(signed?.signature ?? publicKey))
  expect(first?.signature.subarray(64, 66)).toEqual(Uint8Array.of(3, 0))
  expect(last?.signature.length).toBe(98)
  expect([digest(first), digest(last)]).toEqual([
    '356889ffd30e17873df4251da34aa276c13b43107c4a4315fca6f44c3a8b5f08',
    'eb07c7509abd9e870fcef3e194ed9d81b141746edb63798e63cabde859375a1b',
  ])
})
