import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import {
  batchAlgorithm,
  type SignedBase,
  signMessageBatch,
  verifyEd25519,
} from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Ed25519Keys } from './ed25519-keys.ts'

const order = 2n ** 252n + 27742317777372353535851937790883648493n

/** Points of small order, canonical or not, and encodings that are not a point. */
const oddPoints = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  `01${'00'.repeat(30)}80`,
  `02${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}ff`,
  `ee${'ff'.repeat(30)}7f`,
  'ff'.repeat(32),
].map((hex) => new Uint8Array(Buffer.from(hex, 'hex')))

interface Signed {
  readonly key: Uint8Array
  readonly signature: Uint8Array
  readonly bytes: Uint8Array
}

const signers = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')] as const

function rawOf(publicKey: KeyObject): Uint8Array {
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))
}

const good: fc.Arbitrary<Signed> = fc
  .tuple(fc.constantFrom(...signers), fc.uint8Array({ maxLength: 600 }))
  .map(([{ privateKey, publicKey }, bytes]) => ({
    key: rawOf(publicKey),
    signature: new Uint8Array(sign(null, bytes, privateKey)),
    bytes,
  }))

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice()
  const at = (bit >> 3) % Math.max(1, copy.length)
  copy.fill((copy[at] ?? 0) ^ (1 << (bit & 7)), at, at + 1)
  return copy
}

/** The same signature with `s` one group order larger, which RFC 8032 forbids. */
function notReduced(signature: Uint8Array): Uint8Array {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32).toReversed()).toString('hex')}`) + order
  const high = Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()
  return Uint8Array.from([...signature.subarray(0, 32), ...high])
}

const part = fc.constantFrom<keyof Signed>('key', 'signature', 'bytes')
const oddPoint = fc.constantFrom(...oddPoints)
const damaged: fc.Arbitrary<Signed> = fc.oneof(
  fc
    .tuple(good, part, fc.nat(4_095))
    .map(([signed, name, bit]) => ({ ...signed, [name]: flipped(signed[name], bit) })),
  fc
    .tuple(good, fc.constantFrom('key', 'signature'), fc.uint8Array({ maxLength: 80 }))
    .map(([signed, name, other]) => ({ ...signed, [name]: other })),
  good.map((signed) => ({ ...signed, signature: notReduced(signed.signature) })),
  fc.tuple(good, oddPoint).map(([signed, key]) => ({ ...signed, key })),
  fc.tuple(good, oddPoint).map(([signed, point]) => ({
    ...signed,
    signature: Uint8Array.from([...point, ...signed.signature.subarray(32)]),
  })),
  // `s` of zero over points of small order: laxer verifiers take one such signature for many texts.
  fc.tuple(oddPoint, oddPoint, fc.uint8Array({ maxLength: 4 })).map(([key, point, bytes]) => ({
    ...{ key, bytes },
    signature: Uint8Array.from([...point, ...new Uint8Array(32)]),
  })),
)

test('kept keys accept exactly what WebCrypto accepts', async () => {
  const keys = new Ed25519Keys()
  const agree = async ({ key, signature, bytes }: Signed) => {
    const isValid = keys.verify(key, signature, bytes)
    expect(isValid).toBe(await verifyEd25519(key, signature, bytes))
    return isValid
  }
  await fc.assert(
    fc.asyncProperty(good, async (signed) => {
      expect(await agree(signed)).toBe(true)
      expect(await agree({ ...signed, signature: notReduced(signed.signature) })).toBe(false)
    }),
  )
  await fc.assert(
    fc.asyncProperty(damaged, async (signed) => void (await agree(signed))),
    {
      numRuns: 600,
    },
  )
})

test.each(oddPoints)('no signature is of the key %#, by either verifier', async (key) => {
  const keys = new Ed25519Keys()
  for (const point of oddPoints) {
    const signature = Uint8Array.from([...point, ...new Uint8Array(32)])
    for (let text = 0; text < 8; text++) {
      const bytes = Uint8Array.of(text)
      expect(keys.verify(key, signature, bytes)).toBe(false)
      expect(await verifyEd25519(key, signature, bytes)).toBe(false)
    }
  }
})

test('a key is imported once, and the oldest makes room for another', () => {
  const keys = new Ed25519Keys(2)
  const make = () => rawOf(generateKeyPairSync('ed25519').publicKey)
  const [first, second, third] = [make(), make(), make()]
  const kept = [keys.find(first), keys.find(second)]
  expect(keys.find(first.slice())).toBe(kept[0])
  expect(keys.find(second.slice())).toBe(kept[1])
  expect(keys.find(third)).not.toBeNull()
  expect(keys.size).toBe(2)
  expect(keys.find(second)).toBe(kept[1])
  expect(keys.find(first)).not.toBe(kept[0])
  expect(keys.find(first)?.equals(kept[0] ?? signers[0].publicKey)).toBe(true)
  expect(keys.size).toBe(2)
})

test.each([0, 31, 33])('a key of %i bytes is not kept', (length) => {
  const keys = new Ed25519Keys()
  expect(keys.find(new Uint8Array(length))).toBeNull()
  expect(keys.verify(new Uint8Array(length), new Uint8Array(64), new Uint8Array(1))).toBe(false)
  expect(keys.size).toBe(0)
})

test('the root of a batch that verified vouches for no other signature, root or key', () => {
  const [{ privateKey, publicKey }, other] = signers
  const hash = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())
  const signBytes = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey))
  const bases = ['a', 'b', 'c']
  const values = signMessageBatch(bases, { hash, sign: signBytes })
  const signed = bases.map(
    (base, at): SignedBase => ({
      alg: batchAlgorithm,
      base,
      signature: values[at] ?? new Uint8Array(0),
    }),
  )
  const keys = new Ed25519Keys()
  for (const each of signed) expect(keys.verifyMessage(rawOf(publicKey), each)).toBe(true)
  for (const each of signed) {
    for (let bit = 0; bit < each.signature.length * 8; bit += 5) {
      const forged = { ...each, signature: flipped(each.signature, bit) }
      expect(keys.verifyMessage(rawOf(publicKey), forged)).toBe(false)
    }
    expect(keys.verifyMessage(rawOf(publicKey), { ...each, base: 'd' })).toBe(false)
    expect(keys.verifyMessage(rawOf(other.publicKey), each)).toBe(false)
    expect(keys.verifyMessage(rawOf(publicKey), each)).toBe(true)
  }
})
