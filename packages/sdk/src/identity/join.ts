import { parseBase64Url, toBase64Url } from '@countersign/protocol'
import { AgentError } from '../lib/fault.ts'

/**
 * The document that an operator hands out so that one agent can enrol: the address, the credential,
 * and the party to trust.
 */
export interface Join {
  /** Origin of the fabric, such as `https://fabric.example:7443`. */
  readonly url: string
  /** Good once. */
  readonly token: string
  /**
   * SHA-256 of the DER root certificate: the one thing that is believed before the first
   * connection.
   */
  readonly rootSha256: Uint8Array
}

const joinBytesMax = 2048
const tokenPattern = /^[A-Za-z0-9_-]{8,1024}$/

/** `https://host:port/#<token>.<base64url sha256 of the root>`; throws JOIN_MALFORMED. */
export function parseJoin(text: string): Join {
  const connection = text.trim()
  if (connection.length > joinBytesMax || !URL.canParse(connection))
    throw new AgentError('JOIN_MALFORMED')
  const url = new URL(connection)
  if (url.protocol === 'http:') {
    throw new AgentError('JOIN_MALFORMED', 'it begins with http, and a fabric speaks https only')
  }
  if (url.protocol !== 'https:') throw new AgentError('JOIN_MALFORMED', 'it is not an https URL')
  // The whole URL is compared, so that no user information, path or query is silently dropped.
  if (url.href !== `${url.origin}/${url.hash}`) {
    throw new AgentError('JOIN_MALFORMED', 'it holds more than an origin and a fragment')
  }
  const [token, fingerprint, ...rest] = url.hash.slice(1).split('.')
  const rootSha256 = parseBase64Url(fingerprint ?? '')
  if (token === undefined || !tokenPattern.test(token) || rest.length > 0) {
    throw new AgentError('JOIN_MALFORMED', 'its token is damaged')
  }
  if (rootSha256?.length !== 32)
    throw new AgentError('JOIN_MALFORMED', 'its fingerprint is damaged')
  return { url: url.origin, token, rootSha256 }
}

/** The one-line form; `parseJoin` undoes it. */
export function formatJoin(join: Join): string {
  const text = `${new URL(join.url).origin}/#${join.token}.${toBase64Url(join.rootSha256)}`
  parseJoin(text)
  return text
}
