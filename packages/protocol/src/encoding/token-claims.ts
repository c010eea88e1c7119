import { parseBase64Url, parseUtf8 } from './bytes.ts'

/**
 * Returns the claims of a JSON Web Token (RFC 7519) without a check of anything, to choose by which
 * issuer it is verified; null for other text.
 */
export function unverifiedClaims(token: string): Readonly<Record<string, unknown>> | null {
  const [, payload = '', signature, ...others] = token.split('.', 4)
  const bytes = parseBase64Url(payload)
  if (signature === undefined || others.length > 0 || bytes === null) return null
  try {
    const claims: unknown = JSON.parse(parseUtf8(bytes))
    return typeof claims === 'object' && claims !== null ? { ...claims } : null
  } catch {
    return null
  }
}
