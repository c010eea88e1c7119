import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { concat, parseBase64Url, utf8 } from '@countersign/protocol'
import type { OpeningKey } from './hpke.ts'

/** The part of its own identity that an agent needs to seal and to open. */
export interface SealingIdentity {
  readonly name: string
  readonly trustDomain: string
  /** Ed25519. */
  readonly signing: { readonly keyId: string; readonly privateKey: KeyObject }
  /** X25519 in suite 1; raw private bytes in the other suites of `SEAL_SUITES`. */
  readonly sealing: { readonly keyId: string; readonly privateKey: KeyObject | Uint8Array }
}

/** The raw halves of a sealing key; a suite's raw private key comes without its public half. */
export function rawSealingKey(key: KeyObject | Uint8Array): OpeningKey {
  if (key instanceof Uint8Array) return { privateKey: key, publicKey: null }
  const { d = '', x = '' } = key.export({ format: 'jwk' })
  const privateKey = parseBase64Url(d)
  if (key.asymmetricKeyType !== 'x25519' || privateKey?.length !== 32) {
    throw new TypeError('not an X25519 key')
  }
  return { privateKey, publicKey: parseBase64Url(x) }
}

/**
 * The scope in which a key is used; all of it goes into the derivation, so that a key never serves
 * two scopes.
 */
export interface KeyScope {
  readonly suite: number
  readonly trustDomain: string
  readonly channel: string
  readonly epoch: number
  readonly sender: string
  /** 16 bytes. */
  readonly session: Uint8Array
}

/** Everything that one session of one sender seals and opens with. */
export interface MessageKey {
  /**
   * A key object: with raw bytes, Node 24 spends five times as long on one cipher as on its work.
   */
  readonly key: KeyObject
  /** Four bytes before the sequence number in every nonce. */
  readonly noncePrefix: Uint8Array
  /** AES-GCM does not commit to its key; these 32 bytes do, and stand in every message. */
  readonly commitment: Uint8Array
}

const keyContext = utf8('countersign-message-key-v1\0')

export function deriveMessageKey(secret: Uint8Array, scope: KeyScope): MessageKey {
  const numbers = new Uint8Array(6)
  const view = new DataView(numbers.buffer)
  view.setUint16(0, scope.suite)
  view.setUint32(2, scope.epoch)
  // No name holds a zero byte, so the joined names cannot be read in two ways.
  const names = utf8([scope.trustDomain, scope.channel, scope.sender].join('\0'))
  const info = concat(keyContext, numbers, names)
  const bytes = new Uint8Array(hkdfSync('sha256', secret, scope.session, info, 68))
  return {
    key: createSecretKey(bytes.subarray(0, 32)),
    noncePrefix: bytes.subarray(32, 36),
    commitment: bytes.subarray(36, 68),
  }
}

/** Never the same twice under one key: the sequence counts, and a session's key is made once. */
export function messageNonce(key: MessageKey, sequence: number): Uint8Array {
  const nonce = new Uint8Array(12)
  nonce.set(key.noncePrefix)
  const view = new DataView(nonce.buffer)
  view.setUint32(4, Math.floor(sequence / 0x1_0000_0000))
  view.setUint32(8, sequence >>> 0)
  return nonce
}

export function encrypt(
  plaintext: Uint8Array,
  key: MessageKey,
  { sequence, additionalData }: { readonly sequence: number; readonly additionalData: Uint8Array },
): { readonly ciphertext: Uint8Array; readonly tag: Uint8Array } {
  const cipher = createCipheriv('aes-256-gcm', key.key, messageNonce(key, sequence))
  cipher.setAAD(additionalData)
  const ciphertext = cipher.update(plaintext)
  cipher.final()
  return { ciphertext, tag: cipher.getAuthTag() }
}

/** Null when key, nonce, additional data, ciphertext or tag is not what was sealed. */
export function decrypt(
  sealed: {
    readonly additionalData: Uint8Array
    readonly ciphertext: Uint8Array
    readonly tag: Uint8Array
  },
  key: MessageKey,
  sequence: number,
): Uint8Array | null {
  const nonce = messageNonce(key, sequence)
  const decipher = createDecipheriv('aes-256-gcm', key.key, nonce, { authTagLength: 16 })
  decipher.setAAD(sealed.additionalData)
  decipher.setAuthTag(sealed.tag)
  const plaintext = decipher.update(sealed.ciphertext)
  try {
    decipher.final()
  } catch {
    return null
  }
  // Plain bytes, so that the returned value is what its type declares.
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength)
}

/** 16 bytes over `parts`, each with its length. */
export type ChannelHash = (
  purpose: 'ordering' | 'idempotency' | 'content',
  ...parts: readonly Uint8Array[]
) => Uint8Array

/**
 * Hashes of ordering and idempotency keys under a key of the sender's own: the broker can compare
 * them and cannot guess them. They survive a restart, and are worth nothing for another channel.
 */
export function createChannelHash(identity: SealingIdentity, channel: string): ChannelHash {
  const place = utf8(['countersign-channel-hash-v1', identity.trustDomain, channel].join('\0'))
  const raw = rawSealingKey(identity.sealing.privateKey).privateKey
  const derived = hkdfSync('sha256', raw, new Uint8Array(32), place, 32)
  const key = createSecretKey(new Uint8Array(derived))
  return (purpose, ...parts) => {
    const mac = createHmac('sha256', key).update(purpose).update('\0')
    for (const part of parts) {
      const length = new Uint8Array(4)
      new DataView(length.buffer).setUint32(0, part.length)
      mac.update(length).update(part)
    }
    return mac.digest().subarray(0, 16)
  }
}
