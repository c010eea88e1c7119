import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import {
  type ChannelDescriptor,
  concat,
  equalBytes,
  messageDigest,
  messageSignatureInput,
  parseKeyMessage,
  parseSealedMessage,
  SEALED_LABELS_MAX,
  type SealedPadding,
  utf8,
} from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { rawPublicKey } from '../identity/keys.ts'
import { sha256 } from '../lib/sha256.ts'
import { generateSealingKey, unwrapSecret } from './hpke.ts'
import { createSealer, type Sealer, type SealRequest } from './seal.ts'
import { SealFailure } from './seal-failure.ts'
import { rawSealingKey, type SealingIdentity } from './seal-keys.ts'
import { createOpener, type Opened, type Opener } from './seal-open.ts'

let now = 1_700_000_000_000
const clock = { now: () => now }
// Not secret and not random, but never the same twice: what a test has to reproduce.
let drawn = 0
const random = (count: number) =>
  new Uint8Array(createHash('shake256', { outputLength: count }).update(`seed ${drawn++}`).digest())

function createIdentity(name: string): SealingIdentity {
  return {
    name,
    trustDomain: 'example.org',
    signing: { keyId: `${name}-signing`, privateKey: generateKeyPairSync('ed25519').privateKey },
    sealing: { keyId: `${name}-sealing`, privateKey: generateKeyPairSync('x25519').privateKey },
  }
}

const alice = createIdentity('alice')
const bob = createIdentity('bob')
const carol = createIdentity('carol')

function memberOf({ name, signing, sealing }: SealingIdentity) {
  if (sealing.privateKey instanceof Uint8Array) throw new Error('only for X25519')
  return {
    name,
    signing: { keyId: signing.keyId, publicKey: rawPublicKey(signing.privateKey) },
    sealing: { keyId: sealing.keyId, suite: 1, publicKey: rawPublicKey(sealing.privateKey) },
  }
}

function descriptorOf(epoch: number, members: readonly SealingIdentity[]): ChannelDescriptor {
  return {
    trustDomain: 'example.org',
    channel: 'orders',
    epoch,
    floor: 1,
    suites: [1],
    members: members.map(memberOf),
    issuedAt: now,
  }
}

const sealerOf = (
  identity: SealingIdentity,
  changes: { epoch?: number; channel?: string; padding?: SealedPadding } = {},
): Sealer =>
  createSealer({
    identity,
    channel: 'orders',
    epoch: 1,
    suite: 1,
    padding: 'none',
    clock,
    random,
    ...changes,
  })

const order = (body: Uint8Array | string, changes: Partial<SealRequest> = {}): SealRequest => ({
  body: typeof body === 'string' ? utf8(body) : body,
  contentType: 'text/plain',
  labels: [],
  orderingKey: null,
  idempotencyKey: null,
  lifetimeMs: 60_000,
  messageId: null,
  ...changes,
})

/** Everybody's descriptors, and one log for all key messages. */
class Place {
  readonly descriptors = new Map<number, ChannelDescriptor>()
  readonly log: Uint8Array[] = []

  openerOf(identity: SealingIdentity, channel = 'orders'): Opener {
    return createOpener({
      identity,
      channel,
      clock,
      source: {
        findDescriptor: async (epoch) => this.descriptors.get(epoch) ?? null,
        keyMessages: async () => this.log,
      },
    })
  }
}

async function meet(sealer = sealerOf(alice), members = [alice, bob]) {
  const place = new Place()
  place.descriptors.set(1, descriptorOf(1, members))
  place.log.push(await sealer.keyMessage(members.map(memberOf)))
  return { place, sealer, opener: place.openerOf(bob) }
}

const codeOf = (answer: Opened | SealFailure) =>
  answer instanceof SealFailure ? answer.code : 'OPENED'
const bodyOf = (answer: Opened | SealFailure) => {
  if (answer instanceof SealFailure) throw new Error(`${answer.code} ${answer.detail}`)
  return answer.body
}

describe('sealing', () => {
  test('opening undoes sealing, whatever is in it', async () => {
    const { sealer, opener } = await meet()
    const labels = fc
      .uniqueArray(fc.stringMatching(/^[a-z0-9][a-z0-9:-]{0,8}$/), { maxLength: SEALED_LABELS_MAX })
      .map((made) => made.toSorted())
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), labels, async (body, made) => {
        const { bytes, messageId } = sealer.seal(order(body, { labels: made, orderingKey: 'k' }))
        const opened = await opener.open(bytes)
        expect(equalBytes(bodyOf(opened), body)).toBe(true)
        if (opened instanceof SealFailure) return
        expect(opened.header).toMatchObject({ sender: 'alice', messageId, labels: made })
      }),
    )
  })

  test('the sender opens its own, and a large padded body comes back whole', async () => {
    const { place, sealer } = await meet(sealerOf(alice, { padding: 'power' }))
    const body = random(32)
    const large = new Uint8Array(1024 * 1024).fill(7)
    const opener = place.openerOf(alice)
    expect(bodyOf(await opener.open(sealer.seal(order(body)).bytes))).toEqual(new Uint8Array(body))
    expect(equalBytes(bodyOf(await opener.open(sealer.seal(order(large)).bytes)), large)).toBe(true)
  })

  test('every message of a batch opens by itself, in any order', async () => {
    const { sealer, opener } = await meet()
    for (const count of [1, 2, 3, 7, 64]) {
      const sealed = sealer.sealBatch(
        Array.from({ length: count }, (_, i) => order(`${count}.${i}`)),
      )
      for (const [i, { bytes }] of [...sealed.entries()].toReversed()) {
        expect(bodyOf(await opener.open(bytes))).toEqual(utf8(`${count}.${i}`))
      }
    }
  })

  test('messages that are opened at once ask once for the epoch, and once for the session’s key', async () => {
    const { place, sealer } = await meet()
    const asked: string[] = []
    const opener = createOpener({
      ...{ identity: bob, channel: 'orders', clock },
      source: {
        async findDescriptor(epoch) {
          asked.push('descriptor')
          return place.descriptors.get(epoch) ?? null
        },
        async keyMessages() {
          asked.push('keys')
          return place.log
        },
      },
    })
    const sealed = Array.from({ length: 20 }, (_, i) => sealer.seal(order(String(i))))
    const opened = await Promise.all(sealed.map(({ bytes }) => opener.open(bytes)))
    expect(opened.map(bodyOf)).toEqual(sealed.map((_, i) => utf8(String(i))))
    expect(asked).toEqual(['descriptor', 'keys'])
    for (const answer of opened) if (!(answer instanceof SealFailure)) opener.complete(answer)
    for (const { bytes } of sealed) expect(codeOf(await opener.open(bytes))).toBe('REPLAYED')
  })

  test('a question that failed is asked again', async () => {
    const { place, sealer } = await meet()
    let isAway = true
    const opener = createOpener({
      ...{ identity: bob, channel: 'orders', clock },
      source: {
        async findDescriptor(epoch) {
          if (isAway) throw new Error('the fabric is away')
          return place.descriptors.get(epoch) ?? null
        },
        keyMessages: async () => place.log,
      },
    })
    const { bytes } = sealer.seal(order('later'))
    await expect(Promise.all([opener.open(bytes), opener.open(bytes)])).rejects.toThrow('away')
    isAway = false
    expect(bodyOf(await opener.open(bytes))).toEqual(utf8('later'))
  })

  test('the plaintext is nowhere in what is sent, and equal bodies look different', async () => {
    const { place, sealer } = await meet()
    const secret = 'the launch code is 4711, do not tell'
    const [a, b] = [sealer.seal(order(secret)).bytes, sealer.seal(order(secret)).bytes]
    expect(Buffer.from(a).includes(secret)).toBe(false)
    expect(Buffer.from(place.log[0] ?? []).includes(secret)).toBe(false)
    expect(equalBytes(a.slice(-200, -80), b.slice(-200, -80))).toBe(false)
  })

  test('each message names the one before it', async () => {
    const { sealer } = await meet()
    const parsed = [1, 2, 3].map((n) => parseSealedMessage(sealer.seal(order(`${n}`)).bytes))
    const [first, second, third] = parsed
    if (!first || !second || !third) throw new Error('did not parse')
    expect(second.header.previous).toEqual(new Uint8Array(messageDigest(first.core, sha256)))
    expect(third.header.previous).toEqual(new Uint8Array(messageDigest(second.core, sha256)))
    expect(third.header.sequence).toBe(2)
  })

  test('an idempotency key hashes alike for one sender and channel, in every session and epoch', () => {
    const hashOf = (sealer: Sealer, body: string) => {
      const sealed = sealer.seal(order(body, { idempotencyKey: 'invoice-7' }))
      const parsed = parseSealedMessage(sealed.bytes)
      if (parsed === null) throw new Error('did not parse')
      return [parsed.header.idempotencyHash, parsed.header.contentHash].map((hash) =>
        Buffer.from(hash).toString('hex'),
      )
    }
    const first = hashOf(sealerOf(alice), 'a')
    expect(hashOf(sealerOf(alice, { epoch: 2 }), 'a')).toEqual(first)
    const [key, content] = hashOf(sealerOf(alice), 'b')
    expect(key).toBe(first[0])
    expect(content).not.toBe(first[1])
    expect(hashOf(sealerOf(alice, { channel: 'other' }), 'a')[0]).not.toBe(first[0])
    expect(hashOf(sealerOf(bob), 'a')[0]).not.toBe(first[0])
  })
})

describe('nonces', () => {
  test('no key and nonce occur twice, over sessions, epochs and restarts', async () => {
    const seen = new Set<string>()
    for (let restart = 0; restart < 100; restart++) {
      const sealer = sealerOf(alice, { epoch: 1 + (restart % 3) })
      const sealed = [sealer.seal(order('a')), ...sealer.sealBatch([order('b'), order('c')])]
      for (const { bytes } of sealed) {
        const parsed = parseSealedMessage(bytes)
        if (parsed === null) throw new Error('did not parse')
        // The commitment names the key; key and sequence make the nonce.
        seen.add(`${Buffer.from(parsed.commitment).toString('hex')} ${parsed.header.sequence}`)
      }
    }
    expect(seen.size).toBe(300)
  })

  test('a session that is used up seals nothing more', () => {
    const sealer = sealerOf(alice)
    const { left } = sealer
    sealer.seal(order('x'))
    expect(sealer.left).toBe(left - 1)
    expect(left).toBe(2 ** 20)
  })
})

describe('messages that are refused', () => {
  test('a message with any single bit changed', async () => {
    const { sealer, opener } = await meet()
    const single = sealer.seal(order('pay 10', { labels: ['a', 'b'], orderingKey: 'k' })).bytes
    const batch = sealer.sealBatch([order('pay 10'), order('pay 20'), order('pay 30')])[1]?.bytes
    if (batch === undefined) throw new Error('no batch')
    for (const sealed of [single, batch]) {
      expect(codeOf(await opener.open(sealed))).toBe('OPENED')
      for (let at = 0; at < sealed.length; at++) {
        const changed = sealed.slice()
        changed[at] = (changed[at] ?? 0) ^ (1 << (at & 7))
        expect(codeOf(await opener.open(changed)), `byte ${at}`).not.toBe('OPENED')
      }
    }
  })

  test('every bit of the header, one by one', async () => {
    const { sealer, opener } = await meet()
    const sealed = sealer.seal(order('x', { labels: ['pii'] })).bytes
    const parsed = parseSealedMessage(sealed)
    if (parsed === null) throw new Error('did not parse')
    for (let bit = 0; bit < parsed.additionalData.length * 8; bit++) {
      const changed = sealed.slice()
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(codeOf(await opener.open(changed)), `bit ${bit}`).not.toBe('OPENED')
    }
  })

  test('a message of another channel, though sealed by a member of both', async () => {
    const other = sealerOf(alice, { channel: 'payroll' })
    const { place } = await meet(other)
    expect(codeOf(await place.openerOf(bob).open(other.seal(order('x')).bytes))).toBe(
      'BAD_SIGNATURE',
    )
  })

  test('the ciphertext of another channel under a new header and signature of a member', async () => {
    // Bob may open alice's message, but to pass it off as his own he has to seal it anew.
    const { place, sealer, opener } = await meet()
    const parsed = parseSealedMessage(sealer.seal(order('from alice')).bytes)
    const mine = sealerOf(bob)
    place.log.push(await mine.keyMessage([alice, bob].map(memberOf)))
    const own = parseSealedMessage(mine.seal(order('x')).bytes)
    if (parsed === null || own === null) throw new Error('did not parse')
    const head = own.additionalData
    const tail = parsed.core.subarray(parsed.additionalData.length)
    const core = concat(head, tail)
    const signature = sign(
      null,
      messageSignatureInput(messageDigest(core, sha256)),
      bob.signing.privateKey,
    )
    expect(codeOf(await opener.open(concat(core, signature)))).toBe('UNDECRYPTABLE')
  })

  test('a signature of another member, or a key id that is not the sender’s', async () => {
    const { place, opener } = await meet()
    const impostor = { ...alice, signing: { ...bob.signing, keyId: alice.signing.keyId } }
    const sealer = sealerOf(impostor)
    place.log.push(await sealer.keyMessage([alice, bob].map(memberOf)))
    expect(codeOf(await opener.open(sealer.seal(order('x')).bytes))).toBe('BAD_SIGNATURE')
    const renamed = sealerOf({ ...alice, signing: { ...alice.signing, keyId: 'older' } })
    expect(codeOf(await opener.open(renamed.seal(order('x')).bytes))).toBe('BAD_SIGNATURE')
    const outsider = sealerOf(carol)
    expect(codeOf(await opener.open(outsider.seal(order('x')).bytes))).toBe('BAD_SIGNATURE')
  })

  test('a batch proof that is good for another message of the batch', async () => {
    const { sealer, opener } = await meet()
    const [first, second] = sealer
      .sealBatch([order('a'), order('b')])
      .map(({ bytes }) => ({ bytes, core: parseSealedMessage(bytes)?.core }))
    if (!first?.core || !second?.core) throw new Error('did not parse')
    // Both have the same signature; the place in the batch is the other one's.
    const crossed = concat(first.core, second.bytes.subarray(second.core.length))
    expect(codeOf(await opener.open(crossed))).toBe('BAD_SIGNATURE')
  })

  test('a suite that the channel does not allow, even when we know it', async () => {
    const { place, opener } = await meet()
    const sealer = createSealer({
      identity: alice,
      channel: 'orders',
      epoch: 1,
      suite: 2,
      padding: 'none',
      clock,
      random,
    })
    expect(codeOf(await opener.open(sealer.seal(order('x')).bytes))).toBe('SUITE_REFUSED')
    place.descriptors.set(2, { ...descriptorOf(2, [alice, bob]), suites: [2] })
    const old = sealerOf(alice, { epoch: 2 })
    expect(codeOf(await opener.open(old.seal(order('x')).bytes))).toBe('SUITE_REFUSED')
  })

  test('a message past its time, and one of an epoch without us', async () => {
    const { place, sealer, opener } = await meet()
    const { bytes } = sealer.seal(order('x'))
    now += 60_001
    expect(codeOf(await opener.open(bytes))).toBe('EXPIRED')
    expect(codeOf(await opener.open(sealerOf(alice, { epoch: 9 }).seal(order('x')).bytes))).toBe(
      'WRONG_EPOCH',
    )
    place.descriptors.set(2, descriptorOf(2, [alice]))
    expect(codeOf(await opener.open(sealerOf(alice, { epoch: 2 }).seal(order('x')).bytes))).toBe(
      'WRONG_EPOCH',
    )
  })

  test('a member who was removed cannot open the next epoch, not even with its key log', async () => {
    const { place } = await meet()
    const next = sealerOf(alice, { epoch: 2 })
    place.log.push(await next.keyMessage([alice, bob].map(memberOf)))
    place.descriptors.set(2, descriptorOf(2, [alice, bob]))
    const { bytes } = next.seal(order('without carol'))
    expect(codeOf(await place.openerOf(bob).open(bytes))).toBe('OPENED')
    expect(codeOf(await place.openerOf(carol).open(bytes))).toBe('WRONG_EPOCH')
    // With a hostile broker that shows carol a list with her on it, she still has no key.
    place.descriptors.set(2, descriptorOf(2, [alice, bob, carol]))
    expect(codeOf(await place.openerOf(carol).open(bytes))).toBe('UNKNOWN_KEY')
    const wrapped = parseKeyMessage(place.log[1] ?? new Uint8Array())?.message.keys ?? []
    for (const key of wrapped) {
      const wrap = { suite: 1, info: new Uint8Array() } as const
      expect(await unwrapSecret(key, rawSealingKey(carol.sealing.privateKey), wrap)).toBeNull()
    }
  })

  test('a message without its key in the log, or with a key that another agent signed', async () => {
    const { place, opener } = await meet()
    const sealer = sealerOf(alice)
    const { bytes } = sealer.seal(order('x'))
    expect(codeOf(await opener.open(bytes))).toBe('UNKNOWN_KEY')
    const forged = (await sealer.keyMessage([alice, bob].map(memberOf))).slice()
    forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1
    place.log.push(forged)
    expect(codeOf(await opener.open(bytes))).toBe('UNKNOWN_KEY')
  })
})

describe('replay', () => {
  test('a redelivery is not a replay until the first copy is completed', async () => {
    const { sealer, opener } = await meet()
    const { bytes } = sealer.seal(order('x'))
    const first = await opener.open(bytes)
    expect(codeOf(await opener.open(bytes))).toBe('OPENED')
    if (first instanceof SealFailure) throw new Error(first.code)
    opener.complete(first)
    expect(codeOf(await opener.open(bytes))).toBe('REPLAYED')
    expect(codeOf(await opener.open(sealer.seal(order('y')).bytes))).toBe('OPENED')
  })
})

describe('key wrapping', () => {
  test('a channel of the hybrid suite works from end to end', async () => {
    const key = await generateSealingKey(2)
    const dave = { ...bob, sealing: { keyId: 'hybrid', privateKey: key.privateKey } }
    const member = {
      ...memberOf(bob),
      sealing: { keyId: 'hybrid', suite: 2, publicKey: key.publicKey },
    }
    const place = new Place()
    place.descriptors.set(1, {
      ...descriptorOf(1, [alice]),
      suites: [2],
      members: [memberOf(alice), member],
    })
    const sealer = createSealer({
      identity: alice,
      channel: 'orders',
      epoch: 1,
      suite: 2,
      padding: 'none',
      clock,
      random,
    })
    place.log.push(await sealer.keyMessage([member]))
    const opened = await place.openerOf(dave).open(sealer.seal(order('harvest this')).bytes)
    expect(bodyOf(opened)).toEqual(utf8('harvest this'))
  })
})
