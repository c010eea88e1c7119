import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import {
  equalBytes,
  type JsonValue,
  parseBase64,
  parseStrictJson,
  parseTrust,
  parseUtf8,
  type Trust,
} from '@countersign/protocol'
import { TrustBundles } from '@countersign/protocol/tls'
import { readAll } from '../connection/body.ts'
import { openFabricConnection } from '../connection/fabric-connection.ts'
import { describeNetworkFault } from '../connection/network-fault.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { type Join, parseJoin } from './join.ts'

/** The trust of an agent: the keys that receipts are verified against, and the roots of peers. */
export interface FabricTrust extends Trust {
  /** Roots of the trust domain, DER. */
  readonly roots: readonly Uint8Array[]
  /** The `keyid` under which the fabric signs what it forwards. */
  readonly fabricKeyId: string
  /**
   * Raw X25519 public key that an enrolment proves its sealing key against; a trust file has none.
   */
  readonly enrollmentKey: Uint8Array | null
}

const rootsMax = 64

/** The document of `GET /v1/trust`. Throws TRUST_MALFORMED; does not check where it came from. */
export function parseTrustDocument(document: unknown): FabricTrust {
  try {
    const { v, trustDomain, bundle, slotKey, slots, ...keys } = members(document)
    const { fabricKey, enrollmentKey } = keys
    const { keyId, publicKey } = members(fabricKey)
    if (typeof keyId !== 'string' || keyId === '' || keyId.length > 256)
      throw new TypeError('keyId')
    if (!Array.isArray(bundle) || bundle.length === 0 || bundle.length > rootsMax) {
      throw new TypeError('bundle')
    }
    // The trust file is the same without roots and key id; its parser is the one judge of the rest.
    const file = { v, trustDomain, fabricKey: publicKey, slotKey, slots }
    return {
      ...parseTrust(JSON.stringify(file)),
      roots: bundle.map((root: unknown) => parseRoot(root)),
      fabricKeyId: keyId,
      enrollmentKey: enrollmentKey === undefined ? null : parseRawKey(enrollmentKey),
    }
  } catch (cause) {
    throw new AgentError('TRUST_MALFORMED', cause instanceof Error ? cause.message : '', { cause })
  }
}

/**
 * Fetches the trust document, over a connection verified against exactly the root certificate whose
 * hash the join string holds. Throws ROOT_MISMATCHED when the fabric at that address has another
 * root; nothing secret has been sent by then.
 */
export async function readTrust(
  join: Join | string,
  clock: Clock = systemClock,
): Promise<FabricTrust> {
  const { document } = await fetchTrust(typeof join === 'string' ? parseJoin(join) : join, clock)
  return parseTrustDocument(document)
}

/** As `readTrust`, with the document as it came, to be stored. */
export async function fetchTrust(join: Join, clock: Clock): Promise<{ document: JsonValue }> {
  // A server need not send its root, so the hash alone verifies no chain. The first answer is
  // believed in nothing; it only has to contain the certificate that the hash names.
  const claimed = parseTrustDocument(await fetchUnverified(join.url))
  const root = claimed.roots.find((candidate) => isPinned(candidate, join))
  if (root === undefined) throw new AgentError('ROOT_MISMATCHED', join.url)
  const { trustDomain } = claimed
  const bundles = new TrustBundles()
  bundles.set(trustDomain, { sequence: 0, roots: [root] })
  const connection = openFabricConnection({ url: join.url, trustDomain, bundles, clock })
  try {
    const { status, body } = await connection.request({
      method: 'GET',
      path: '/v1/trust',
      headers: [['accept', 'application/json']],
      body: new Uint8Array(0),
      repeatable: true,
    })
    const bytes = await readAll(body, LIMITS.controlBytesMax, 'ANSWER_TOO_LARGE')
    if (status !== 200) throw new AgentError('TRUST_MALFORMED', `status ${status}`)
    const document = parseJson(bytes)
    const trust = parseTrustDocument(document)
    if (trust.trustDomain !== trustDomain || !trust.roots.some((each) => isPinned(each, join))) {
      throw new AgentError('ROOT_MISMATCHED', 'the fabric changed while it was read')
    }
    return { document }
  } finally {
    connection.close()
  }
}

function isPinned(root: Uint8Array, { rootSha256 }: Join): boolean {
  return equalBytes(createHash('sha256').update(root).digest(), rootSha256)
}

/** The only request of the SDK that accepts any certificate; see `fetchTrust` for why it may. */
async function fetchUnverified(url: string): Promise<JsonValue> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const out = httpsRequest(new URL('/v1/trust', url), {
      rejectUnauthorized: false,
      agent: false,
      minVersion: 'TLSv1.3',
      timeout: LIMITS.connectMsMax,
    })
    out.once('response', resolve)
    out.once('timeout', () => out.destroy(new Error('no answer in time')))
    out.once('error', (cause) => {
      reject(new AgentError('FABRIC_UNREACHABLE', describeNetworkFault(cause), { cause }))
    })
    out.end()
  })
  try {
    const bytes = await readAll(response, LIMITS.controlBytesMax, 'ANSWER_TOO_LARGE')
    if (response.statusCode !== 200) {
      throw new AgentError('TRUST_MALFORMED', `status ${response.statusCode}`)
    }
    return parseJson(bytes)
  } finally {
    response.destroy()
  }
}

/** Throws TRUST_MALFORMED. */
export function parseJson(bytes: Uint8Array): JsonValue {
  try {
    return parseStrictJson(parseUtf8(bytes))
  } catch (cause) {
    throw new AgentError('TRUST_MALFORMED', 'it is not JSON', { cause })
  }
}

function parseRoot(value: unknown): Uint8Array {
  const root = typeof value === 'string' ? parseBase64(value) : null
  if (root === null || root.length === 0) throw new TypeError('a root is not base64')
  return root
}

function parseRawKey(value: unknown): Uint8Array {
  const key = typeof value === 'string' ? parseBase64(value) : null
  if (key?.length !== 32) throw new TypeError('enrollmentKey')
  return key
}

function members(value: unknown): { readonly [member: string]: unknown } & TrustMembers {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as TrustMembers
  }
  throw new TypeError('an object is missing')
}

interface TrustMembers {
  readonly [member: string]: unknown
  readonly v?: unknown
  readonly trustDomain?: unknown
  readonly bundle?: unknown
  readonly slotKey?: unknown
  readonly slots?: unknown
  readonly fabricKey?: unknown
  readonly enrollmentKey?: unknown
  readonly keyId?: unknown
  readonly publicKey?: unknown
}
