import { verify } from 'node:crypto'
import {
  createSignatureBase,
  equalBytes,
  fieldValues,
  isExchangeId,
  isFormerExchangeId,
  isPrincipalKey,
  KEY_CERTIFICATE_FIELD,
  MalformedError,
  type MessageSignature,
  parseContentDigest,
  parseSignatures,
  parseSpiffeId,
  type RefusalCode,
  type SignableRequest,
  slotOfExchange,
  streamedBody,
  utf8,
} from '@countersign/protocol'
import { clockSkewMs, type PeerIdentity } from '@countersign/protocol/tls'
import { publicKeyOf } from '../identity/public-key.ts'
import type { FabricTrust } from '../identity/trust.ts'
import { type Clock, monotonicOf } from '../lib/clock.ts'
import { LIMITS } from '../lib/limits.ts'
import { sha256 } from '../lib/sha256.ts'
import type { CertifiedKeys } from './certified-keys.ts'
import type { NonceMemory } from './nonce-memory.ts'

/** The facts that a verified forward signature vouches for. */
export interface Forwarded {
  readonly exchange: string
  /** SPIFFE ID of the caller. */
  readonly from: string
  /** True when the caller itself signed; the forwarder verified that signature. */
  readonly signed: boolean
}

export class ForwardFault {
  readonly code: RefusalCode
  readonly detail: string

  constructor(code: RefusalCode, detail: string) {
    this.code = code
    this.detail = detail
  }
}

/** The signing key of an agent whose connector forwards for it. */
export interface ForwardKey {
  /** Raw Ed25519. */
  readonly publicKey: Uint8Array
  /** SPIFFE ID of the agent. */
  readonly spiffeId: string
}

export interface ForwardRules {
  readonly spiffeId: string
  readonly trust: FabricTrust
  readonly clock: Clock
  readonly nonces: NonceMemory
  /** Those of the fabric's processes. */
  readonly certified: CertifiedKeys
  /** For signatures that are not the fabric's own: null refuses them. */
  readonly findKey: (keyId: string) => Promise<ForwardKey | null>
}

/** The fabric forwards at once; a request that takes longer was held back in transit. */
const ageMsMax = 60_000
/**
 * Time for which a nonce has to be remembered: from the earliest to the latest moment it is good.
 */
export const nonceWindowMs = ageMsMax + 2 * clockSkewMs

const forwardTag = 'countersign-forward'
const identityFields = ['countersign-exchange', 'countersign-from', 'countersign-to'] as const

/**
 * Checks that `request` is what the fabric (or in the mesh the caller's connector) forwarded to us,
 * now and for the first time. `peer` is who holds the connection: a signature is good only from the
 * one who made it, so that a captured request cannot be brought by another. `body` is null for a
 * stream, of which the signature covers the head and the statement that it is one.
 */
export async function checkForwarded(
  request: SignableRequest,
  body: Uint8Array | null,
  { peer, rules }: { peer: PeerIdentity; rules: ForwardRules },
): Promise<Forwarded | ForwardFault> {
  const signature = findForwardSignature(request)
  if (signature instanceof ForwardFault) return signature
  const from = single('countersign-from', request)
  const exchange = single('countersign-exchange', request)
  if (isFormerExchangeId(exchange)) {
    return new ForwardFault(
      'VERSION_UNSUPPORTED',
      'the fabric has to be updated: exchange ids begin with exc_<slot>_',
    )
  }
  const key = await forwardKey(signature, request, { peer, from, rules })
  if (typeof key === 'string') return rejected(key)
  const fault = coverageFault(signature, request, body) ?? timeFault(signature, rules.clock.now())
  if (fault !== null) return rejected(fault)
  const base = baseOf(signature, request)
  if (base === null || !verify(null, utf8(base), publicKeyOf(key), signature.signature)) {
    return rejected('the forward signature is wrong')
  }
  if (single('countersign-to', request) !== rules.spiffeId) {
    return rejected('the request is for another agent')
  }
  if (!isExchangeId(exchange) || from === null || !isPrincipalKey(from)) {
    return new ForwardFault('MESSAGE_MALFORMED', 'exchange or caller is not an id')
  }
  // Last, so that only what is genuine takes up memory.
  const claim = rules.nonces.claim(
    `${signature.params.keyId} ${signature.params.nonce}`,
    monotonicOf(rules.clock),
  )
  if (claim === 'seen') return new ForwardFault('MESSAGE_REPLAYED', 'the nonce was used')
  if (claim === 'full') return new ForwardFault('UNDECIDED', 'no room for another nonce')
  const signed = signature.components.includes('"signature";key="caller"')
  return { exchange, from, signed }
}

function findForwardSignature(request: SignableRequest): MessageSignature | ForwardFault {
  let all: readonly MessageSignature[]
  try {
    all = parseSignatures(request.headers)
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    return rejected(error.message)
  }
  const [one, ...others] = all.filter(({ params }) => params.tag === forwardTag)
  if (one === undefined)
    return new ForwardFault('SIGNATURE_MISSING', 'no fabric or connector forwarded this')
  return others.length === 0 ? one : rejected('two forward signatures')
}

async function forwardKey(
  { params: { keyId } }: MessageSignature,
  request: SignableRequest,
  { peer, from, rules }: { peer: PeerIdentity; from: string | null; rules: ForwardRules },
): Promise<Uint8Array | string> {
  const holder = parseSpiffeId(peer.spiffeId)
  if (holder?.kind === 'fabric' && holder.trustDomain === rules.trust.trustDomain) {
    const certificate = single(KEY_CERTIFICATE_FIELD, request)
    const slot = slotOfExchange(single('countersign-exchange', request))
    if (certificate === null || slot === null) return 'the key of the fabric has no certificate'
    return rules.certified.find({ purpose: 'forward', keyId, slot, certificate })
  }
  const key = await rules.findKey(keyId)
  // A connector vouches for its own agent only.
  if (key?.spiffeId === peer.spiffeId && key.spiffeId === from) return key.publicKey
  return 'the key may not forward this'
}

function coverageFault(
  { components, params }: MessageSignature,
  request: SignableRequest,
  body: Uint8Array | null,
): string | null {
  const needed = ['"@method"', '"@path"', ...identityFields.map((name) => `"${name}"`)]
  if (request.path.includes('?')) needed.push('"@query"')
  const digest = single('content-digest', request)
  if (body === null) needed.push(`"${bodyField}"`)
  else if (body.length > 0 || digest !== null) needed.push('"content-digest"')
  const hasCaller = fieldValues('signature', request.headers).join(',').includes('caller=')
  if (hasCaller) needed.push('"signature";key="caller"')
  const uncovered = needed.find((component) => !components.includes(component))
  if (uncovered !== undefined) return `the forward signature does not cover ${uncovered}`
  if (params.nonce === null || params.nonce.length > LIMITS.nonceLengthMax) return 'no usable nonce'
  if (body === null) return streamFault(components, request)
  if (digest === null) return null
  try {
    return equalBytes(parseContentDigest(digest), sha256(body))
      ? null
      : 'the digest is of another body'
  } catch {
    return 'the digest is malformed'
  }
}

const [bodyField, streamed] = streamedBody

/** Reports whether a request states that it is a stream, in whatever form. */
export function isStatedStream({ headers }: Pick<SignableRequest, 'headers'>): boolean {
  return fieldValues(bodyField, headers).length > 0
}

function streamFault(
  components: MessageSignature['components'],
  request: SignableRequest,
): string | null {
  // Nothing could be compared with it before the first frame is handed over.
  if (components.includes('"content-digest"')) return 'the signature covers a digest of a stream'
  return single(bodyField, request) === streamed ? null : 'the body is stated in another form'
}

function timeFault({ params }: MessageSignature, now: number): string | null {
  const createdMs = params.created * 1000
  if (createdMs > now + clockSkewMs) return 'the forward signature is from the future'
  // `created` has whole seconds, and may be almost one too early.
  if (createdMs < now - ageMsMax - 1000) return 'the forward signature is too old'
  if (params.expires !== null && params.expires * 1000 < now) return 'the signature has expired'
  return null
}

function baseOf(signature: MessageSignature, request: SignableRequest): string | null {
  try {
    return createSignatureBase(signature.input, request)
  } catch (error) {
    if (error instanceof MalformedError) return null
    throw error
  }
}

/** The one value of a field; null when it is absent or repeated. */
function single(name: string, request: SignableRequest): string | null {
  const [value, ...others] = fieldValues(name, request.headers)
  return value === undefined || others.length > 0 ? null : value
}

function rejected(detail: string): ForwardFault {
  return new ForwardFault('SIGNATURE_REJECTED', detail)
}
