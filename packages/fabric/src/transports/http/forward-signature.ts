import {
  draftSignature,
  formatContentDigest,
  inputOfBase,
  KEY_CERTIFICATE_FIELD,
  type SignableRequest,
  streamedBody,
  toBase64,
  utf8,
} from '@countersign/protocol'
import type { FactValue } from '../../ledger/ledger.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import type { Intended } from '../../pipeline/record.ts'
import type { UpstreamRequest } from '../../routes/upstream.ts'

/** A key by its id: the fabric's, or an agent's. */
export interface KeySigner {
  readonly keyId: string
  /** Raw Ed25519 over the bytes, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array
}

/**
 * The short-lived key with which the fabric signs what it forwards, and its certificate. They
 * change together, between two requests.
 */
export interface ForwardSigner extends KeySigner {
  readonly certificate: string
  /** Raw Ed25519. */
  readonly publicKey: Uint8Array
  /** The reason why it cannot sign at this moment; null while it can. Costs nothing. */
  fault(): string | null
}

/**
 * The request that leaves, and the facts that the outcome needs so that a countersignature over it
 * can be checked.
 */
export interface Forwarded {
  readonly request: SignableRequest
  readonly facts: Readonly<Record<string, FactValue>>
}

const forwardTag = 'countersign-forward'

/**
 * The request as the receiver gets it: identity headers that only we may set, the caller's own
 * signature where there was one, and ours over everything that the receiver may rely on. Without a
 * signer the identity headers alone: so an agent gets it from its own connector, which checked it
 * all.
 */
export function forwardedRequest(
  exchange: Exchange<Intended>,
  base: Pick<UpstreamRequest, 'method' | 'path'>,
  signer: ForwardSigner | null,
  receiverId: string,
): Forwarded {
  const { caller } = exchange
  const { headers: inspected } = exchange.forwardable
  const headers: [string, string][] = [
    ...inspected.map(([name, value]): [string, string] => [name, value]),
    ['countersign-exchange', exchange.id],
    ['countersign-from', caller.principal],
    ['countersign-to', receiverId],
  ]
  const content = contentField(exchange)
  if (content !== null) headers.push(content)
  if (signer === null) {
    return {
      request: { method: base.method, path: base.path, authority: '', headers },
      facts: {},
    }
  }
  // Not covered: it is signed itself, and with another one this signature does not verify.
  headers.push([KEY_CERTIFICATE_FIELD, signer.certificate])
  const callers = callerSignature(exchange)
  const components = ['"@method"', '"@path"']
  if (base.path.includes('?')) components.push('"@query"')
  if (content !== null) components.push(`"${content[0]}"`)
  components.push('"countersign-exchange"', '"countersign-from"', '"countersign-to"')
  if (callers !== null) {
    headers.push(['signature-input', callers.input], ['signature', callers.signature])
    components.push(`"signature";key="caller"`)
  }
  const unsigned: SignableRequest = { method: base.method, path: base.path, authority: '', headers }
  const draft = {
    components,
    created: Math.floor(exchange.at / 1000),
    keyId: signer.keyId,
    nonce: exchange.id,
    tag: forwardTag,
  }
  const { input, base: signatureBase } = draftSignature(draft, unsigned)
  const signature = signer.sign(utf8(signatureBase))
  return {
    request: { ...unsigned, headers: withSignature(headers, input, signature) },
    // If the caller signed, the callee covers that signature; otherwise ours ties the two together.
    facts:
      callers === null
        ? {
            'forwarded.signature': signature,
            'forwarded.signature-base': signatureBase,
            'forwarded.key': signer.publicKey,
          }
        : {},
  }
}

/** States the content; of a stream, whose content comes later, that it is one. */
function contentField({
  forwardable: { body, digest },
  upload,
}: Exchange<Intended>): [string, string] | null {
  if (upload !== null) return [...streamedBody]
  return body.length > 0 ? ['content-digest', formatContentDigest(digest)] : null
}

function callerSignature({
  signature: presented,
  signed,
}: Exchange<Intended>): { input: string; signature: string } | null {
  if (presented === null || !signed) return null
  const { base, signature } = presented.signed
  // Relabelled: a label is a name on one hop only, and ours must be unique.
  return {
    input: `caller=${inputOfBase(base)}`,
    signature: `caller=:${toBase64(signature)}:`,
  }
}

function withSignature(
  headers: readonly [string, string][],
  input: string,
  signature: Uint8Array,
): [string, string][] {
  const ours = {
    'signature-input': `fabric=${input}`,
    signature: `fabric=:${toBase64(signature)}:`,
  }
  const rest = headers.filter(([name]) => !Object.hasOwn(ours, name))
  const join = (name: keyof typeof ours): [string, string] => {
    const callers = headers.find(([header]) => header === name)?.[1]
    return [name, callers === undefined ? ours[name] : `${callers}, ${ours[name]}`]
  }
  return [...rest, join('signature-input'), join('signature')]
}
