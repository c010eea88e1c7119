import { hash, timingSafeEqual } from 'node:crypto'
import type { Random } from '../lib/random.ts'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** The digits that 256 bits need in base 62. */
const secretLength = 43

/**
 * A bearer secret as text: `<kind>_<id>_<secret>`. The id finds the record; the secret, 32 random
 * bytes, is kept only as SHA-256. A slow password hash would add nothing to 256 bits of entropy.
 */
export interface SecretText {
  readonly id: string
  readonly secret: string
}

export function createSecretText(idLength: number, random: Random): SecretText {
  return { id: encode(random(idLength), idLength), secret: encode(random(32), secretLength) }
}

export function formatSecretText(kind: string, { id, secret }: SecretText): string {
  return `${kind}_${id}_${secret}`
}

/** Null for anything that is not exactly such a text. */
export function parseSecretText(kind: string, idLength: number, text: string): SecretText | null {
  const idEnd = kind.length + 1 + idLength
  if (text.length !== idEnd + 1 + secretLength || !text.startsWith(`${kind}_`)) return null
  const id = text.slice(kind.length + 1, idEnd)
  const secret = text.slice(idEnd + 1)
  if (text[idEnd] !== '_' || !isBase62(id) || !isBase62(secret)) return null
  return { id, secret }
}

/** Returns the part of a secret that is stored. */
export function hashSecret(secret: string): string {
  return hash('sha256', secret, 'base64url')
}

/** Constant time over hashes of equal length: timing reveals nothing about the secret. */
export function secretMatches(secret: string, keptHash: string): boolean {
  const given = Buffer.from(hashSecret(secret))
  const kept = Buffer.from(keptHash)
  return given.length === kept.length && timingSafeEqual(given, kept)
}

function isBase62(text: string): boolean {
  return /^[0-9A-Za-z]+$/.test(text)
}

function encode(bytes: Uint8Array, length: number): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  let text = ''
  for (let i = 0; i < length; i++) {
    text = (digits[Number(value % 62n)] ?? '') + text
    value /= 62n
  }
  return text
}
