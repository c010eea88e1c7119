import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { parseBase64Url } from '@countersign/protocol'
import { AgentError } from '../lib/fault.ts'

/** The three private keys of an agent. They are made here and never leave its directory. */
export interface AgentPrivateKeys {
  /** ECDSA P-256, for TLS. */
  readonly tls: KeyObject
  /** Ed25519, for requests, responses and messages. */
  readonly signing: KeyObject
  /** X25519, for opening what others sealed. */
  readonly sealing: KeyObject
}

const KINDS = {
  tls: { type: 'ec', curve: 'prime256v1' },
  signing: { type: 'ed25519', curve: undefined },
  sealing: { type: 'x25519', curve: undefined },
} as const

export type KeyTexts = Readonly<Record<keyof typeof KINDS, string>>

export function generateKeys(): AgentPrivateKeys {
  return {
    tls: generateTlsKey(),
    signing: generateKeyPairSync('ed25519').privateKey,
    sealing: generateKeyPairSync('x25519').privateKey,
  }
}

export function generateTlsKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** PKCS#8 PEM of each; `parseKeys` undoes it. */
export function formatKeys(keys: AgentPrivateKeys): KeyTexts {
  return { tls: pem(keys.tls), signing: pem(keys.signing), sealing: pem(keys.sealing) }
}

/** Throws when a text is not a PKCS#8 key of the kind that its name promises. */
export function parseKeys(texts: KeyTexts): AgentPrivateKeys {
  return {
    tls: parseKey('tls', texts),
    signing: parseKey('signing', texts),
    sealing: parseKey('sealing', texts),
  }
}

function parseKey(name: keyof typeof KINDS, texts: KeyTexts): KeyObject {
  const key = createPrivateKey({ key: texts[name], format: 'pem' })
  const { type, curve } = KINDS[name]
  if (key.asymmetricKeyType !== type || key.asymmetricKeyDetails?.namedCurve !== curve) {
    throw new AgentError('IDENTITY_DAMAGED', `the ${name} key is of another kind`)
  }
  return key
}

/** The 32 bytes of the public half of an Ed25519 or X25519 private key. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const raw = parseBase64Url(createPublicKey(key).export({ format: 'jwk' }).x ?? '')
  if (raw?.length !== 32) throw new TypeError('not a key with a 32-byte public half')
  return raw
}

export function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}
