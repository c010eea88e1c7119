import { isAgentName, isTrustDomain, parseSpiffeId } from './ids.ts'

/**
 * The canonical form of a principal: the key of everything that belongs to one. A bare name is not
 * assignable: its kind and its issuer are missing.
 */
export type PrincipalKey =
  | `spiffe://${string}/${string}/${string}`
  | `https://${string}#${string}/${string}`

/** A party that acts. Two principals can share any two of the three members. */
export interface Principal {
  readonly kind: 'agent' | 'user' | 'fabric'
  /** The trust domain of a fabric, or the URL of an OpenID Connect issuer. */
  readonly issuer: string
  /** The name within the trust domain, or the `sub` that the issuer gives. */
  readonly subject: string
}

/** UTF-16 units: an issuer and a subject of the longest forms, without room for two of them. */
export const PRINCIPAL_KEY_LENGTH_MAX = 512
/** OpenID Connect Core, section 2: `sub` has at most 255 ASCII characters. */
const subjectLengthMax = 255

/**
 * OpenID Connect Discovery, section 3: an `https` URL without query and fragment. Compared as text,
 * so that only one spelling of a host is an issuer.
 */
const issuerUrl =
  /^https:\/\/[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[1-9][0-9]{0,4})?(?:\/[A-Za-z0-9._~/-]*)?$/

export function isIssuerUrl(value: unknown): value is `https://${string}` {
  return typeof value === 'string' && value.length <= 255 && issuerUrl.test(value)
}

const subjectText = /^[\x20-\x7e]+$/
/** RFC 3986, section 3.5: these stand for themselves in a fragment; "%" begins an escape. */
const escaped = /[^A-Za-z0-9._~@:+=-]/g

function escapeCharacter(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}

/**
 * Returns the canonical form. For a principal of a fabric it is the SPIFFE ID without an instance;
 * for one of an OpenID Connect issuer `<issuer>#<kind>/<subject>`, the subject percent-encoded. No
 * two principals share one: an issuer has no `#`, a kind no `/`, and the escapes of a subject have
 * one spelling. Throws a TypeError for what is not a principal.
 */
export function principalKey({ kind, issuer, subject }: Principal): PrincipalKey {
  if (isTrustDomain(issuer) && isAgentName(subject)) {
    return `spiffe://${issuer}/${kind}/${subject}`
  }
  const isSubject = subject.length <= subjectLengthMax && subjectText.test(subject)
  if (!isIssuerUrl(issuer) || !isSubject || kind === 'fabric') {
    throw new TypeError('not a principal: the issuer or the subject is malformed')
  }
  const key: PrincipalKey = `${issuer}#${kind}/${subject.replace(escaped, escapeCharacter)}`
  if (key.length > PRINCIPAL_KEY_LENGTH_MAX) throw new TypeError('the principal is too long')
  return key
}

/** The parsed principal, or null for anything that is not exactly a canonical form. */
export function parsePrincipal(text: string): Principal | null {
  if (text.length > PRINCIPAL_KEY_LENGTH_MAX) return null
  const id = parseSpiffeId(text)
  if (id !== null) {
    const { kind, trustDomain, name, instance } = id
    return instance === null ? { kind, issuer: trustDomain, subject: name } : null
  }
  const parts = /^([^#]+)#(agent|user)\/([\x21-\x7e]+)$/.exec(text)
  const [, issuer, kind, given] = parts ?? []
  if (issuer === undefined || given === undefined) return null
  const subject = given.replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  const principal = { kind: kind === 'user' ? 'user' : 'agent', issuer, subject } as const
  // Compared with what would be written: an escape that is not needed would be a second spelling.
  return isPrincipal(principal) && principalKey(principal) === text ? principal : null
}

export function isPrincipalKey(value: unknown): value is PrincipalKey {
  return typeof value === 'string' && parsePrincipal(value) !== null
}

function isPrincipal(principal: Principal): boolean {
  try {
    principalKey(principal)
    return true
  } catch {
    return false
  }
}
