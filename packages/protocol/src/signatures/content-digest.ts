import { parseBase64, toBase64 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'

/** SHA-256 of no bytes. */
export const digestOfNothing: Uint8Array =
  parseBase64('47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=') ?? new Uint8Array(0)

/** The Content-Digest field (RFC 9530, section 2) with the one algorithm that we use. */
export function formatContentDigest(sha256: Uint8Array): string {
  if (sha256.length !== 32) throw new TypeError('a SHA-256 digest is 32 bytes')
  return `sha-256=:${toBase64(sha256)}:`
}

/**
 * The SHA-256 digest. Throws a MalformedError on every other form, a second algorithm included:
 * two digests in one field are two answers to the question what was signed.
 */
export function parseContentDigest(value: string): Uint8Array {
  const match = /^sha-256=:([A-Za-z0-9+/=]{44}):$/.exec(value)
  const digest = parseBase64(match?.[1] ?? '')
  if (digest?.length !== 32) throw new MalformedError('the content digest is malformed')
  return digest
}
