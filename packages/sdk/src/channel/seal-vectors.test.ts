import { createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  ackDigest,
  ackSignatureInput,
  type ChannelDescriptor,
  equalBytes,
  type MessageId,
  parseSealedMessage,
  type SealedPadding,
  toHex,
  utf8,
} from '@countersign/protocol'
import { expect, test } from 'vitest'
import { rawPublicKey } from '../identity/keys.ts'
import { sha256 } from '../lib/sha256.ts'
import { createSealer, type SealRequest } from './seal.ts'
import { SealFailure } from './seal-failure.ts'
import { createOpener } from './seal-open.ts'

/** Every byte string is hex; private keys are the 32-byte seeds of RFC 8032 and RFC 7748. */
interface Vectors {
  readonly trustDomain: string
  readonly channel: string
  readonly epoch: number
  readonly now: number
  readonly session: string
  readonly secret: string
  readonly sender: { readonly name: string; readonly signing: string; readonly sealing: string }
  readonly receiver: { readonly name: string; readonly signing: string; readonly sealing: string }
  readonly keyMessage: string
  readonly messages: readonly Vector[]
  readonly acknowledgement: {
    readonly message: number
    readonly group: string
    readonly verdict: 'ack'
    readonly digest: string
    readonly signature: string
  }
}

interface Vector {
  readonly messageId: MessageId
  readonly body: string
  readonly contentType: string
  readonly labels: readonly string[]
  readonly orderingKey: string | null
  readonly idempotencyKey: string | null
  readonly lifetimeMs: number
  readonly padding: SealedPadding
  /** Messages with the same number are signed as one batch; null for a signature of its own. */
  readonly batch: number | null
  readonly sealed: string
}

const path = new URL('../../../protocol/vectors/sealed-v1.json', import.meta.url)
const vectors = JSON.parse(readFileSync(path, 'utf8')) as Vectors
const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'))

/** PKCS#8 around a seed (RFC 8410, section 7). */
const keyOf = (curve: 'ed25519' | 'x25519', seed: string): KeyObject =>
  createPrivateKey({
    key: Buffer.from(
      `302e020100300506032b65${curve === 'ed25519' ? '70' : '6e'}04220420${seed}`,
      'hex',
    ),
    format: 'der',
    type: 'pkcs8',
  })

const identityOf = (agent: Vectors['sender']) => ({
  name: agent.name,
  trustDomain: vectors.trustDomain,
  signing: { keyId: `${agent.name}-signing`, privateKey: keyOf('ed25519', agent.signing) },
  sealing: { keyId: `${agent.name}-sealing`, privateKey: keyOf('x25519', agent.sealing) },
})

const sender = identityOf(vectors.sender)
const receiver = identityOf(vectors.receiver)
const clock = { now: () => vectors.now }

const memberOf = ({ name, signing, sealing }: typeof sender) => ({
  name,
  signing: { keyId: signing.keyId, publicKey: rawPublicKey(signing.privateKey) },
  sealing: { keyId: sealing.keyId, suite: 1, publicKey: rawPublicKey(sealing.privateKey) },
})

const descriptor: ChannelDescriptor = {
  trustDomain: vectors.trustDomain,
  channel: vectors.channel,
  epoch: vectors.epoch,
  floor: vectors.epoch,
  suites: [1],
  members: [sender, receiver].map(memberOf),
  issuedAt: vectors.now,
}

const orderOf = ({ body, ...vector }: Vector): SealRequest => ({ ...vector, body: bytesOf(body) })

/** All messages of the file in order, with a sealer that draws the file's session and secret. */
function sealAll(): readonly Uint8Array[] {
  const draws = [bytesOf(vectors.session), bytesOf(vectors.secret)]
  const { channel, epoch } = vectors
  const padding = vectors.messages[0]?.padding ?? 'none'
  const sealer = createSealer({
    identity: sender,
    channel,
    epoch,
    suite: 1,
    padding,
    clock,
    random: () => draws.shift() ?? new Uint8Array(),
  })
  const sealed: Uint8Array[] = []
  for (let i = 0; i < vectors.messages.length; ) {
    const vector = vectors.messages[i]
    if (vector === undefined) break
    const group =
      vector.batch === null
        ? [vector]
        : vectors.messages.filter(({ batch }) => batch === vector.batch)
    const made =
      vector.batch === null ? [sealer.seal(orderOf(vector))] : sealer.sealBatch(group.map(orderOf))
    sealed.push(...made.map(({ bytes }) => bytes))
    i += group.length
  }
  return sealed
}

test('sealing the vectors gives the published bytes', () => {
  const sealed = sealAll()
  expect(sealed).toHaveLength(vectors.messages.length)
  for (const [i, vector] of vectors.messages.entries()) {
    expect(toHex(sealed[i] ?? new Uint8Array()), vector.messageId).toBe(vector.sealed)
  }
})

test('the published bytes open to the published bodies', async () => {
  const opener = createOpener({
    identity: receiver,
    channel: vectors.channel,
    clock,
    source: {
      findDescriptor: async () => descriptor,
      keyMessages: async () => [bytesOf(vectors.keyMessage)],
    },
  })
  for (const vector of vectors.messages) {
    const opened = await opener.open(bytesOf(vector.sealed))
    if (opened instanceof SealFailure) throw new Error(`${vector.messageId}: ${opened.code}`)
    expect(equalBytes(opened.body, bytesOf(vector.body))).toBe(true)
    expect(opened.header.labels).toEqual(vector.labels)
  }
})

test('the published acknowledgement is what the receiver signs', () => {
  const { message, group, verdict, digest, signature } = vectors.acknowledgement
  const sealed = bytesOf(vectors.messages[message]?.sealed ?? '')
  const parsed = parseSealedMessage(sealed)
  if (parsed === null) throw new Error('did not parse')
  const made = ackDigest(
    {
      messageId: parsed.header.messageId,
      sealedHash: sha256(sealed),
      senderSignature: parsed.signature,
      group,
      verdict,
      reason: '',
    },
    sha256,
  )
  expect(toHex(made)).toBe(digest)
  const input = ackSignatureInput([made], sha256)
  expect(toHex(new Uint8Array(sign(null, input, receiver.signing.privateKey)))).toBe(signature)
  expect(utf8('countersign-acks-v1\0')).toEqual(input.subarray(0, 20))
})
