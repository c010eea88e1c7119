import {
  inputOfBase,
  parseMediaType,
  plainMediaType,
  type SignedResponse,
  toBase64,
} from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { RejectedError } from '../../lib/upstream-error.ts'
import { isInspectedCharset } from '../../pipeline/answer-text.ts'
import { statusFault } from '../../protocols/http/response-status.ts'
import { sessionIdLengthMax } from '../../routes/session-places.ts'
import type { UpstreamResponse } from '../../routes/upstream.ts'
import { listFields, receiverFields, signatureFields, trailerFields } from './response-fields.ts'

/**
 * The fields that are judged: those that pass, and one more that a receiver may have signed, which
 * does not pass.
 */
const judgedNames: ReadonlySet<string> = new Set([
  ...receiverFields,
  ...signatureFields,
  'retry-after',
])

/**
 * The head of a response as it may pass. Code that forwards or signs a response builds it from this
 * alone.
 */
export interface ResponseHead {
  readonly status: number
  /** In lower case, each name once. */
  readonly headers: readonly (readonly [string, string])[]
  /** In the one form that passes; empty where the receiver wrote none. */
  readonly contentType: string
  readonly isStream: boolean
}

interface HeadRules {
  readonly names?: ReadonlySet<string>
  /** A refusal by the fabric itself, which answers 401 where it has not attempted the call. */
  readonly isFabrics?: boolean
}

/**
 * Reads the head of a response: those fields of `names` that it has, each once (lists are joined),
 * with a type that is one type. The only reader of heads that receivers sent, at the gateway and on
 * both sides of the mesh: a head that is judged by one reading and forwarded as another would state
 * unjudged content.
 */
export function readResponseHead(
  response: UpstreamResponse,
  { names = judgedNames, isFabrics = false }: HeadRules = {},
): ResponseHead | Refusal {
  const { status } = response
  const odd = statusFault(status)
  if (odd !== null && (!isFabrics || status < 400)) return new Refusal('RESPONSE_REJECTED', odd)
  const headers = readHeaders(response, names)
  if (headers instanceof Refusal) return headers
  const contentType = headers.find(([name]) => name === 'content-type')?.[1] ?? ''
  const media = parseMediaType(contentType)
  if (media === null && contentType !== '') {
    return new Refusal('RESPONSE_REJECTED', 'the Content-Type can be read in two ways')
  }
  const isStream = media?.essence === 'text/event-stream'
  const charset = media?.charset ?? null
  if (charset !== null && (isStream ? charset !== 'utf-8' : !isInspectedCharset(charset))) {
    return new Refusal('RESPONSE_REJECTED', 'a charset that is not inspected')
  }
  return { status, headers, contentType, isStream }
}

function readHeaders(
  response: Pick<UpstreamResponse, 'headers'>,
  names: ReadonlySet<string>,
): [string, string][] | Refusal {
  const headers: [string, string][] = []
  for (const [given, value] of response.headers) {
    const name = given.toLowerCase()
    if (name === 'content-encoding' && value !== 'identity') {
      return new Refusal('RESPONSE_REJECTED', `content-encoding ${value} was not asked for`)
    }
    if (!names.has(name)) continue
    const before = headers.find(([known]) => known === name)
    if (before !== undefined && !listFields.has(name)) {
      return new Refusal('RESPONSE_REJECTED', `the response repeats ${name}`)
    }
    // RFC 9110, section 5.5. Node would refuse to send it on, when the outcome is already on
    // record.
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      return new Refusal('RESPONSE_REJECTED', `${name} has a character that no field may have`)
    }
    if (name === 'mcp-session-id' && value.length > sessionIdLengthMax) {
      return new Refusal('RESPONSE_REJECTED', `a session id of ${value.length} characters`)
    }
    if (before === undefined)
      headers.push([name, name === 'content-type' ? plainMediaType(value) : value])
    else before[1] += `, ${value}`
  }
  return headers
}

/** The fields after a body that pass: none that a client would take for one of its head. */
export function readTrailers(given: UpstreamResponse['headers']): UpstreamResponse['headers'] {
  const trailers = readHeaders({ headers: given }, trailerFields)
  if (trailers instanceof Refusal) throw new RejectedError(trailers)
  return trailers
}

/**
 * The fields that pass, with the one signature that is checked, under a label of ours. Any
 * signature next to it is not verified, and could carry anything.
 */
export function withOwnSignature(
  headers: ResponseHead['headers'],
  countersignature: SignedResponse | null,
): ResponseHead['headers'] {
  const rest = headers.filter(([name]) => receiverFields.has(name))
  if (countersignature === null) return rest
  const { base, signature } = countersignature
  return [
    ...rest,
    ['signature-input', `callee=${inputOfBase(base)}`],
    ['signature', `callee=:${toBase64(signature)}:`],
  ]
}
