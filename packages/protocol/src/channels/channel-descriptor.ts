import { concat, parseBase64Url, parseUtf8, toBase64Url, utf8 } from '../encoding/bytes.ts'
import { isAgentName, isTrustDomain } from '../encoding/ids.ts'
import { parseStrictJson } from '../encoding/strict-json.ts'
import { KEY_MEMBERS_MAX } from './sealed-key.ts'
import { isKeyId } from './sealed-message.ts'

/** One member's public keys, as they were when the epoch began. */
export interface ChannelMember {
  readonly name: string
  /** Ed25519, 32 bytes. */
  readonly signing: { readonly keyId: string; readonly publicKey: Uint8Array }
  /** Of the KEM that the suite names: 32 bytes of X25519 in suite 1. */
  readonly sealing: {
    readonly keyId: string
    readonly suite: number
    readonly publicKey: Uint8Array
  }
}

/** One epoch of one channel, as the channel authority signed it. The epoch is the version. */
export interface ChannelDescriptor {
  readonly trustDomain: string
  readonly channel: string
  readonly epoch: number
  /** The oldest epoch in which a message is still accepted. */
  readonly floor: number
  /** The only suites that may occur; suites are not negotiated, so a downgrade is impossible. */
  readonly suites: readonly number[]
  /** Ascending by name. */
  readonly members: readonly ChannelMember[]
  /** Unix milliseconds. */
  readonly issuedAt: number
}

/** The payload is signed as bytes, and parsed only from the bytes that verified. */
export interface SignedDescriptor {
  readonly payload: Uint8Array
  readonly keyId: string
  readonly signature: Uint8Array
}

const context = utf8('countersign-channel-v1\0')
const suitesMax = 8
/** The hybrid suite's public keys take 1,216 bytes, one and a third of that in text. */
const payloadBytesMax = KEY_MEMBERS_MAX * 2400 + 1024

export function descriptorSignatureInput(payload: Uint8Array): Uint8Array {
  return concat(context, payload)
}

export function encodeDescriptor(descriptor: ChannelDescriptor): Uint8Array {
  return utf8(
    JSON.stringify({
      trustDomain: descriptor.trustDomain,
      channel: descriptor.channel,
      epoch: descriptor.epoch,
      floor: descriptor.floor,
      suites: descriptor.suites,
      members: descriptor.members.map(({ name, signing, sealing }) => ({
        name,
        signing: { keyId: signing.keyId, publicKey: toBase64Url(signing.publicKey) },
        sealing: {
          keyId: sealing.keyId,
          suite: sealing.suite,
          publicKey: toBase64Url(sealing.publicKey),
        },
      })),
      issuedAt: descriptor.issuedAt,
    }),
  )
}

/**
 * Null unless the payload is exactly what `encodeDescriptor` writes for a well-formed descriptor.
 */
export function parseDescriptor(payload: Uint8Array): ChannelDescriptor | null {
  if (payload.length > payloadBytesMax) return null
  const descriptor = toDescriptor(parseJson(payload))
  if (descriptor === null) return null
  // One encoding only: duplicate keys, white space and unknown fields all fail here.
  const again = encodeDescriptor(descriptor)
  return again.length === payload.length && again.every((byte, i) => byte === payload[i])
    ? descriptor
    : null
}

/** The JSON body of `GET /v1/channels/:name`. */
export function encodeSignedDescriptor(signed: SignedDescriptor): Uint8Array {
  return utf8(
    JSON.stringify({
      payload: toBase64Url(signed.payload),
      keyId: signed.keyId,
      signature: toBase64Url(signed.signature),
    }),
  )
}

export function parseSignedDescriptor(body: Uint8Array): SignedDescriptor | null {
  if (body.length > payloadBytesMax * 2) return null
  const value = parseJson(body)
  if (!isRecord(value)) return null
  const payload = toBytes(value['payload'])
  const signature = toBytes(value['signature'])
  const keyId = value['keyId']
  if (payload === null || signature?.length !== 64 || !isKeyId(keyId)) return null
  return { payload, keyId, signature }
}

function toDescriptor(value: unknown): ChannelDescriptor | null {
  if (!isRecord(value)) return null
  const { trustDomain, channel, epoch, floor, suites, members, issuedAt } = value
  if (!isTrustDomain(trustDomain) || !isAgentName(channel)) return null
  if (!isCount(epoch) || !isCount(floor) || !isCount(issuedAt)) return null
  if (epoch < 1 || epoch > 0xffff_ffff || floor < 1 || floor > epoch) return null
  if (!Array.isArray(suites) || suites.length > suitesMax || !suites.every(isCount)) return null
  if (!Array.isArray(members) || members.length > KEY_MEMBERS_MAX) return null
  const parsed: ChannelMember[] = []
  for (const entry of members) {
    const member = toMember(entry)
    if (member === null || member.name <= (parsed.at(-1)?.name ?? '')) return null
    parsed.push(member)
  }
  return { trustDomain, channel, epoch, floor, suites, members: parsed, issuedAt }
}

function toMember(value: unknown): ChannelMember | null {
  if (!isRecord(value)) return null
  const { name, signing, sealing } = value
  if (!isAgentName(name) || !isRecord(signing) || !isRecord(sealing)) return null
  const signingKey = toBytes(signing['publicKey'])
  const sealingKey = toBytes(sealing['publicKey'])
  const suite = sealing['suite']
  if (!isKeyId(signing['keyId']) || !isKeyId(sealing['keyId']) || !isCount(suite)) return null
  if (signingKey?.length !== 32 || sealingKey === null) return null
  return {
    name,
    signing: { keyId: signing['keyId'], publicKey: signingKey },
    sealing: { keyId: sealing['keyId'], suite, publicKey: sealingKey },
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(parseUtf8(bytes))
  } catch {
    return null
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function toBytes(value: unknown): Uint8Array | null {
  return typeof value === 'string' ? parseBase64Url(value) : null
}
