import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { encode, rfc8949EncodeOptions } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import vector from '../../vectors/batch.json' with { type: 'json' }
import { keyThumbprint } from '../control/enrollment.ts'
import { concat, toHex, utf8 } from '../encoding/bytes.ts'
import { CborTag, type CborValue, decodeCbor, encodeCbor } from '../encoding/cbor.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  type BatchStatement,
  batchContentType,
  batchEntriesMax,
  draftBatch,
  parseBatch,
  type SignedBatch,
} from './batch.ts'
import { hashLeafWith, treePathWith, treeRootWith, verifyInclusionWith } from './merkle.ts'

const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'))
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

const der = `302e020100300506032b657004220420${'07'.repeat(32)}`
const privateKey = createPrivateKey({
  key: Buffer.from(der, 'hex'),
  format: 'der',
  type: 'pkcs8',
})
const publicKey = createPublicKey(privateKey)
const rawKey = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))
const keyId = await keyThumbprint('Ed25519', rawKey)
const signBytes = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey))

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const statements: fc.Arbitrary<BatchStatement> = fc.record({
  origin: fc.constantFrom('acme.test/ledger/a', 'b.test/ledger/b2'),
  producer: fc.constantFrom('spiffe://acme.test/agent/pay', 'spiffe://b.test/agent/x-1'),
  chain: bytes(16),
  n: fc.maxSafeNat(),
  prev: bytes(32),
  size: fc.integer({ min: 1, max: batchEntriesMax }),
  root: bytes(32),
  at: fc.maxSafeNat(),
})

const leaves = vector.leaves.map((leaf) => fromHex(leaf))
const example: BatchStatement = {
  origin: 'acme.test/ledger/a',
  producer: 'spiffe://acme.test/agent/pay',
  chain: new Uint8Array(16).fill(9),
  n: 7,
  prev: new Uint8Array(32).fill(8),
  size: leaves.length,
  root: treeRootWith(
    sha256,
    leaves.map((leaf) => hashLeafWith(sha256, leaf)),
  ),
  at: 1_760_000_000_000,
}

function encoded(statement: BatchStatement): Uint8Array {
  const draft = draftBatch(statement, keyId)
  return draft.encode(signBytes(draft.signed))
}

function parsed(statement: Uint8Array): SignedBatch | null {
  try {
    return parseBatch(statement)
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedError)
    return null
  }
}

const isSigned = ({ signed, signature }: SignedBatch) => verify(null, signed, publicKey, signature)

/** The example with one item of its content replaced, or one part of the COSE_Sign1. */
function changed(at: number, value: CborValue): Uint8Array {
  const { value: parts } = decodeCbor(encoded(example)) as CborTag
  const [head, none, content, signature] = parts as [Uint8Array, CborValue, Uint8Array, Uint8Array]
  const items = [...(decodeCbor(content) as readonly CborValue[])]
  items[at] = value
  return encodeCbor(new CborTag(18, [head, none, encodeCbor(items), signature]))
}

describe('the statement of a batch', () => {
  test('parses to what was encoded, in the bytes of an independent encoder', () => {
    fc.assert(
      fc.property(statements, (statement) => {
        const draft = draftBatch(statement, keyId)
        const { origin, producer, chain, n, prev, size, root, at } = statement
        const content = encode(
          [2, origin, producer, chain, n, prev, size, root, at],
          rfc8949EncodeOptions,
        )
        const head = encode(
          new Map<number, unknown>([
            [1, -8],
            [3, batchContentType],
            [4, utf8(keyId)],
          ]),
          rfc8949EncodeOptions,
        )
        const structure = encode(
          ['Signature1', head, new Uint8Array(0), content],
          rfc8949EncodeOptions,
        )
        expect(toHex(draft.signed)).toBe(toHex(structure))
        const statementBytes = draft.encode(signBytes(draft.signed))
        const read = parseBatch(statementBytes)
        expect(read).toMatchObject({ statement, keyId })
        expect(isSigned(read)).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  test('with any bit flipped is refused, or its signature does not verify', () => {
    const whole = encoded(example)
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const flipped = whole.with(bit >> 3, (whole[bit >> 3] ?? 0) ^ (1 << (bit & 7)))
      const read = parsed(flipped)
      if (read !== null) expect(isSigned(read), `bit ${bit}`).toBe(false)
    }
  })

  test('has one encoding: bytes that parse are those that are written of what they hold', () => {
    const edits = fc.array(
      fc.record({ at: fc.nat(), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) }),
      { minLength: 1, maxLength: 3 },
    )
    fc.assert(
      fc.property(statements, edits, (statement, changes) => {
        let whole: Uint8Array = encoded(statement)
        for (const { at, remove, insert } of changes) {
          const start = at % (whole.length + 1)
          whole = concat(whole.subarray(0, start), insert, whole.subarray(start + remove))
        }
        const read = parsed(whole)
        if (read === null) return
        const again = draftBatch(read.statement, read.keyId).encode(read.signature)
        expect(toHex(again)).toBe(toHex(whole))
      }),
      { numRuns: 500 },
    )
  })

  test.each<readonly [string, number, CborValue]>([
    ['another version', 0, 1],
    ['an empty origin', 1, ''],
    ['an origin with a space', 1, 'a b'],
    ['a producer that is a user', 2, 'spiffe://acme.test/user/ann'],
    ['a producer that is an instance', 2, 'spiffe://acme.test/agent/pay/1'],
    ['a producer that is the fabric', 2, 'spiffe://acme.test/fabric/fabric'],
    ['a short chain', 3, new Uint8Array(15)],
    ['a negative number', 4, -1],
    ['a number beyond 2^53', 4, 2n ** 60n],
    ['a short hash before', 5, new Uint8Array(31)],
    ['no entries', 6, 0],
    ['too many entries', 6, batchEntriesMax + 1],
    ['a long root', 7, new Uint8Array(33)],
    ['a time as text', 8, '1'],
    ['an item more', 9, 1],
  ])('is refused with %s', (_, at, value) => {
    expect(() => parseBatch(changed(at, value))).toThrow(MalformedError)
  })

  test('is refused with another header, a part more, or no tag', () => {
    const { value } = decodeCbor(encoded(example)) as CborTag
    const [head, none, content, signature] = value as [Uint8Array, CborValue, CborValue, CborValue]
    const map = decodeCbor(head) as ReadonlyMap<number, CborValue>
    const withHead = (...members: [number, CborValue][]) =>
      new CborTag(18, [encodeCbor(new Map([...map, ...members])), none, content, signature])
    const forms: readonly CborValue[] = [
      [head, none, content, signature],
      new CborTag(17, [head, none, content, signature]),
      new CborTag(18, [head, none, content, signature, null]),
      new CborTag(18, [head, new Map([[4, utf8(keyId)]]), content, signature]),
      new CborTag(18, [head, none, null, signature]),
      new CborTag(18, [head, none, content, new Uint8Array(63)]),
      withHead([1, -7]),
      withHead([3, 'application/cbor']),
      withHead([4, utf8('short')]),
      withHead([2, [1]]),
    ]
    for (const form of forms) expect(parsed(encodeCbor(form))).toBeNull()
    expect(parsed(encodeCbor(withHead()))).not.toBeNull()
  })

  test('is not written when it could not be read', () => {
    expect(() => draftBatch({ ...example, n: -1 }, keyId)).toThrow(TypeError)
    expect(() => draftBatch(example, 'key')).toThrow(TypeError)
    expect(() => draftBatch(example, keyId).encode(new Uint8Array(63))).toThrow(TypeError)
  })

  test('is the vector, with the root and the paths of its leaves', () => {
    expect(toHex(rawKey)).toBe(vector.publicKey)
    expect(toHex(encoded(example))).toBe(vector.statement)
    const hashes = leaves.map((leaf) => hashLeafWith(sha256, leaf))
    expect(toHex(example.root)).toBe(vector.root)
    const paths = hashes.map((_, index) => treePathWith(sha256, hashes, index).map(toHex))
    expect(paths).toEqual(vector.paths)
  })
})

test('each leaf has a path to the root of its batch, and no other leaf has it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 4 }), { minLength: 1, maxLength: 40 }),
      (all) => {
        const hashes = all.map((leaf, at) => hashLeafWith(sha256, concat(Uint8Array.of(at), leaf)))
        const root = treeRootWith(sha256, hashes)
        for (const [index, leafHash] of hashes.entries()) {
          const proof = { leafHash, index, size: hashes.length, root }
          const path = treePathWith(sha256, hashes, index)
          expect(verifyInclusionWith(sha256, { ...proof, path })).toBe(true)
          const other = sha256(leafHash)
          expect(verifyInclusionWith(sha256, { ...proof, leafHash: other, path })).toBe(false)
        }
      },
    ),
  )
})
