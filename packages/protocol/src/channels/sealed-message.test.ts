import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, equalBytes, utf8 } from '../encoding/bytes.ts'
import { createId } from '../encoding/ids.ts'
import { encodeSealedContent, parseSealedContent } from './sealed-content.ts'
import { encodeKeyMessage, parseKeyMessage } from './sealed-key.ts'
import {
  type BatchProof,
  batchPathLength,
  completeMessage,
  encodeAdditionalData,
  encodeUnsignedMessage,
  parseSealedMessage,
  SEALED_BATCH_MAX,
  type SealedHeader,
} from './sealed-message.ts'
import {
  ackDigest,
  ackSignatureInput,
  BatchProofs,
  batchTree,
  type Sha256,
} from './sealed-proof.ts'

const sha256: Sha256 = (...parts) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const name = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,10}[a-z0-9]$/)
const label = fc.stringMatching(/^[a-z0-9][a-z0-9._:-]{0,12}$/)

const header: fc.Arbitrary<SealedHeader> = fc
  .record({
    suite: fc.integer({ min: 1, max: 0xffff }),
    batchSigned: fc.boolean(),
    messageId: bytes(10).map((random) => createId('msg', 1_700_000_000_000, random)),
    session: bytes(16),
    epoch: fc.integer({ min: 1, max: 0xffff_ffff }),
    sequence: fc.integer({ min: 0, max: 2 ** 20 - 1 }),
    createdAt: fc.integer({ min: 0, max: 2 ** 50 }),
    notAfter: fc.integer({ min: 2 ** 50, max: Number.MAX_SAFE_INTEGER }),
    idempotencyHash: bytes(16),
    contentHash: bytes(16),
    previous: fc.uint8Array({ minLength: 32, maxLength: 32, min: 1 }),
    orderingHash: fc.option(bytes(16)),
    trustDomain: name,
    channel: name,
    sender: name,
    signingKeyId: fc.stringMatching(/^[A-Za-z0-9_-]{1,43}$/),
    contentType: fc.constantFrom('application/json', 'text/plain; charset=utf-8'),
    labels: fc.uniqueArray(label, { maxLength: 16 }).map((labels) => labels.toSorted()),
  })
  .map((made) => (made.sequence === 0 ? { ...made, previous: new Uint8Array(32) } : made))

const sealedMessage = fc
  .record({
    header,
    commitment: bytes(32),
    ciphertext: fc.uint8Array({ maxLength: 80 }),
    tag: bytes(16),
    signature: bytes(64),
    count: fc.integer({ min: 1, max: SEALED_BATCH_MAX }),
    at: fc.nat(),
  })
  .map(({ header: made, signature, count, at, commitment, ...payload }) => {
    const index = at % count
    const path = new Uint8Array(batchPathLength(index, count) * 32)
    const batch = made.batchSigned ? { count, index, path } : null
    const unsigned = encodeUnsignedMessage(encodeAdditionalData(made, commitment), payload, batch)
    const encoded = completeMessage(unsigned, signature, batch)
    return { made, payload: { ...payload, commitment }, batch, encoded }
  })

describe('sealed message', () => {
  test('parsing undoes encoding', () => {
    fc.assert(
      fc.property(sealedMessage, ({ made, payload, batch, encoded }) => {
        const parsed = parseSealedMessage(encoded)
        expect(parsed?.header).toEqual(made)
        expect(parsed?.batch).toEqual(batch)
        expect(parsed).toMatchObject(payload)
      }),
    )
  })

  test('a message that parses has no other encoding', () => {
    fc.assert(
      fc.property(
        sealedMessage,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        ({ encoded }, at, flip) => {
          const changed = encoded.slice()
          changed[at % changed.length] = (changed[at % changed.length] ?? 0) ^ flip
          const parsed = parseSealedMessage(changed)
          if (parsed === null) return
          const { header: read, commitment, signature, batch } = parsed
          const additionalData = encodeAdditionalData(read, commitment)
          const unsigned = encodeUnsignedMessage(additionalData, parsed, batch)
          const again = completeMessage(unsigned, signature, batch)
          expect(equalBytes(again, changed)).toBe(true)
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('a message cut short or with anything after it is refused', () => {
    fc.assert(
      fc.property(sealedMessage, fc.nat(), ({ encoded }, at) => {
        expect(parseSealedMessage(encoded.subarray(0, at % encoded.length))).toBeNull()
        expect(parseSealedMessage(concat(encoded, new Uint8Array(1)))).toBeNull()
      }),
    )
  })

  test.each<[string, Partial<SealedHeader>]>([
    ['labels out of order', { labels: ['b', 'a'] }],
    ['a label twice', { labels: ['a', 'a'] }],
    ['seventeen labels', { labels: Array.from({ length: 17 }, (_, i) => `l${i + 10}`) }],
    ['an upper-case channel', { channel: 'Orders' }],
    ['a sender with a slash', { sender: 'a/b' }],
    ['an epoch of zero', { epoch: 0 }],
    ['a time before creation', { notAfter: 1 }],
    ['a chain that starts in the middle', { sequence: 3, previous: new Uint8Array(32) }],
    ['a chain that does not start', { sequence: 0, previous: new Uint8Array(32).fill(1) }],
    ['a session past its end', { sequence: 2 ** 20 }],
    ['a content type with a line break', { contentType: 'text/plain\r\nx: y' }],
  ])('%s is never written', (_, change) => {
    const [good] = fc.sample(header, { numRuns: 1, seed: 7 })
    if (good === undefined) throw new Error('no sample')
    const valid = { ...good, sequence: 5, previous: new Uint8Array(32).fill(9), createdAt: 5 }
    const commitment = new Uint8Array(32)
    expect(() => encodeAdditionalData({ ...valid, ...change }, commitment)).toThrow(TypeError)
    expect(() => encodeAdditionalData(valid, commitment)).not.toThrow()
  })

  test('a length that claims more than the limit is refused before anything is read', () => {
    expect(parseSealedMessage(new Uint8Array(3_000_000))).toBeNull()
    expect(parseSealedMessage(new Uint8Array(0))).toBeNull()
  })
})

const nodeContext = utf8('countersign-node-v1\0')

function siblings({ path }: BatchProof): readonly Uint8Array[] {
  return Array.from({ length: path.length / 32 }, (_, i) => path.slice(i * 32, i * 32 + 32))
}

/**
 * The root that `leaf` and its proof lead to, computed alone: what `BatchProofs` must agree with.
 */
function batchRootOf(leaf: Uint8Array, proof: BatchProof, hash: typeof sha256): Uint8Array {
  const path = siblings(proof)
  if (path.length !== batchPathLength(proof.index, proof.count)) throw new TypeError('path length')
  let node = leaf
  let taken = 0
  for (let at = proof.index, width = proof.count; width > 1; at >>= 1, width = (width + 1) >> 1) {
    const right = at % 2 === 1
    if (!right && at + 1 >= width) continue
    const sibling = path[taken++]
    if (sibling === undefined) throw new TypeError('path length')
    node = right ? hash(nodeContext, sibling, node) : hash(nodeContext, node, sibling)
  }
  return node
}

describe('batch proof', () => {
  test('every leaf of every size leads to the root, and at no other index', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(), fc.nat(), (count, a, b) => {
        const leaves = Array.from({ length: count }, (_, i) => sha256(new Uint8Array([i])))
        const { root, proofs } = batchTree(leaves, sha256)
        const index = a % count
        const proof = proofs[index]
        const leaf = leaves[index]
        if (proof === undefined || leaf === undefined) throw new Error('no proof')
        expect(batchRootOf(leaf, proof, sha256)).toEqual(root)
        const elsewhere = b % count
        if (batchPathLength(elsewhere, count) !== batchPathLength(index, count)) return
        if (elsewhere === index) return
        expect(batchRootOf(leaf, { ...proof, index: elsewhere }, sha256)).not.toEqual(root)
      }),
    )
  })

  test('proving together accepts exactly what proving alone accepts, in any order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.record({ at: fc.nat(), as: fc.nat(), broken: fc.option(fc.nat()) }), {
          maxLength: 40,
        }),
        (count, tries) => {
          const leaves = Array.from({ length: count }, (_, i) => sha256(new Uint8Array([i])))
          const { root, proofs } = batchTree(leaves, sha256)
          const together = new BatchProofs(sha256)
          for (const { at, as, broken } of tries) {
            const leaf = leaves[at % count]
            const proof = proofs[as % count]
            if (leaf === undefined || proof === undefined) throw new Error('no proof')
            const path = siblings(proof).map((node, i, all) => {
              const swap = broken !== null && i === broken % all.length
              return swap ? sha256(node) : node
            })
            const claimed = { ...proof, path: concat(...path) }
            const alone = equalBytes(batchRootOf(leaf, claimed, sha256), root)
            expect(together.prove(leaf, claimed, (found) => equalBytes(found, root))).toBe(alone)
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  test('a batch whose signature is not good proves nothing, and learns nothing from it', () => {
    const leaves = [0, 1].map((i) => sha256(new Uint8Array([i])))
    const { proofs } = batchTree(leaves, sha256)
    const together = new BatchProofs(sha256)
    for (const i of [0, 1, 0]) {
      const [leaf, proof] = [leaves[i], proofs[i]]
      if (leaf === undefined || proof === undefined) throw new Error('no proof')
      expect(together.prove(leaf, proof, () => false)).toBe(false)
    }
  })

  test('an inner node does not pass for a message', () => {
    const leaves = [0, 1, 2, 3].map((i) => sha256(new Uint8Array([i])))
    const { root, proofs } = batchTree(leaves, sha256)
    const [left, right] = [leaves[0], leaves[1]]
    const aunt = proofs[0]?.path.slice(32)
    if (left === undefined || right === undefined || aunt === undefined) throw new Error('no tree')
    const inner = sha256(new TextEncoder().encode('countersign-node-v1\0'), left, right)
    // The tree of two does reach the same root; the count in the signed bytes distinguishes them.
    expect(batchRootOf(inner, { count: 2, index: 0, path: aunt }, sha256)).toEqual(root)
    expect(() => batchRootOf(inner, { count: 4, index: 0, path: aunt }, sha256)).toThrow(TypeError)
  })

  test('a path is exactly as long as its place asks for, known nodes or not', () => {
    const leaves = [0, 1, 2, 3].map((i) => sha256(new Uint8Array([i])))
    const { root, proofs } = batchTree(leaves, sha256)
    const [leaf, proof] = [leaves[0], proofs[0]]
    if (leaf === undefined || proof === undefined) throw new Error('no proof')
    const isRoot = (found: Uint8Array) => equalBytes(found, root)
    const fresh = new BatchProofs(sha256)
    const learned = new BatchProofs(sha256)
    expect(learned.prove(leaf, proof, isRoot)).toBe(true)
    const longer = new Uint8Array(proof.path.length + 40)
    longer.set(proof.path)
    for (let length = 0; length <= longer.length; length++) {
      const claimed = { ...proof, path: longer.subarray(0, length) }
      const isWhole = length === proof.path.length
      expect(learned.prove(leaf, claimed, isRoot)).toBe(isWhole)
      if (!isWhole) expect(fresh.prove(leaf, claimed, isRoot)).toBe(false)
    }
  })
})

describe('acknowledgement', () => {
  const ack = {
    messageId: 'msg_018bcfe568007abc8def0123456789ab',
    sealedHash: new Uint8Array(32).fill(1),
    senderSignature: new Uint8Array(64).fill(2),
    group: 'g',
    verdict: 'ack',
    reason: '',
  } as const

  test('any other message, signature, group, verdict or reason is another statement', () => {
    const digest = ackDigest(ack, sha256)
    const others = [
      { ...ack, messageId: 'msg_018bcfe568007abc8def0123456789ac' },
      { ...ack, sealedHash: new Uint8Array(32) },
      { ...ack, senderSignature: new Uint8Array(64) },
      { ...ack, group: 'h' },
      { ...ack, verdict: 'reject' as const },
      { ...ack, reason: 'x' },
    ]
    for (const other of others) expect(ackDigest(other, sha256)).not.toEqual(digest)
  })

  test('the order of statements is part of what is signed', () => {
    const a = ackDigest(ack, sha256)
    const b = ackDigest({ ...ack, verdict: 'nack' }, sha256)
    expect(ackSignatureInput([a, b], sha256)).not.toEqual(ackSignatureInput([b, a], sha256))
  })
})

describe('sealed content', () => {
  const content = fc.record({
    trustDomain: name,
    channel: name,
    sender: name,
    contentType: fc.constant('text/plain'),
    body: fc.uint8Array({ maxLength: 600 }),
  })

  test('parsing undoes encoding, however it is padded', () => {
    fc.assert(
      fc.property(content, fc.constantFrom('none', 'block', 'power'), (made, padding) => {
        expect(parseSealedContent(encodeSealedContent(made, padding))).toEqual(made)
      }),
    )
  })

  test('padding leaves few lengths', () => {
    const lengths = (padding: 'block' | 'power') => {
      const of = (body: Uint8Array) =>
        encodeSealedContent(
          { trustDomain: 'a.b', channel: 'c1', sender: 's1', contentType: 't', body },
          padding,
        ).length
      return new Set(Array.from({ length: 2000 }, (_, i) => of(new Uint8Array(i))))
    }
    expect(lengths('block').size).toBe(8)
    expect(lengths('power').size).toBe(4)
  })

  test('padding that is not zeros is refused', () => {
    const made = { trustDomain: 'a.b', channel: 'c1', sender: 's1', contentType: 't' }
    const encoded = encodeSealedContent({ ...made, body: new Uint8Array(3) }, 'block')
    encoded[encoded.length - 1] = 1
    expect(parseSealedContent(encoded)).toBeNull()
  })
})

describe('key message', () => {
  const keyMessage = fc.record({
    suite: fc.integer({ min: 1, max: 9 }),
    epoch: fc.integer({ min: 1, max: 9 }),
    session: bytes(16),
    createdAt: fc.nat(),
    commitment: bytes(32),
    trustDomain: name,
    channel: name,
    sender: name,
    signingKeyId: fc.constant('key-1'),
    keys: fc
      .uniqueArray(
        fc.record({
          member: name,
          sealingKeyId: fc.constant('k'),
          enc: bytes(32),
          wrapped: bytes(48),
        }),
        { minLength: 1, maxLength: 5, selector: ({ member }) => member },
      )
      .map((keys) => keys.toSorted((a, b) => (a.member < b.member ? -1 : 1))),
  })

  test('parsing undoes encoding, and a cut or longer one is refused', () => {
    fc.assert(
      fc.property(keyMessage, fc.nat(), (made, at) => {
        const encoded = concat(encodeKeyMessage(made), new Uint8Array(64))
        expect(parseKeyMessage(encoded)?.message).toEqual(made)
        expect(parseKeyMessage(encoded.subarray(0, at % encoded.length))).toBeNull()
        expect(parseKeyMessage(concat(encoded, new Uint8Array(1)))).toBeNull()
      }),
    )
  })

  test('members out of order or twice are never written', () => {
    const [made] = fc.sample(keyMessage, { numRuns: 1, seed: 3 })
    const key = made?.keys[0]
    if (made === undefined || key === undefined) throw new Error('no sample')
    expect(() => encodeKeyMessage({ ...made, keys: [key, key] })).toThrow(TypeError)
    expect(() => encodeKeyMessage({ ...made, keys: [] })).toThrow(TypeError)
  })
})
