import {
  formatMember,
  type MediaType,
  parseMediaType,
  parseSignatures,
  type SignedResponse,
  toBase64,
} from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { sessionIdLengthMax } from './balancer.ts'
import type { UpstreamResponse } from './upstream.ts'

/** What a receiver may say to a caller; everything else stays behind. */
const returnedNames: ReadonlySet<string> = new Set([
  'a2a-extensions',
  'a2a-version',
  'allow',
  'content-language',
  'content-type',
  'content-digest',
  'etag',
  'last-modified',
  'mcp-protocol-version',
  'mcp-session-id',
  'retry-after',
  'signature',
  'signature-input',
  'vary',
])

export interface ResponseHead {
  readonly headers: readonly (readonly [string, string])[]
  /** As the receiver wrote it; empty where it wrote none. */
  readonly contentType: string
  readonly media: MediaType | null
  readonly isStream: boolean
}

/** Reads the head of a response: the fields that may pass, each once, with a type that is one type. */
export function readResponseHead(response: UpstreamResponse): ResponseHead | Refusal {
  if (response.status < 200 || response.status > 599) {
    return new Refusal('RESPONSE_REJECTED', `the status ${response.status}`)
  }
  const headers = readHeaders(response)
  if (headers instanceof Refusal) return headers
  const contentType = headers.find(([name]) => name === 'content-type')?.[1] ?? ''
  const media = parseMediaType(contentType)
  if (media === null && contentType !== '') {
    return new Refusal('RESPONSE_REJECTED', 'the Content-Type can be read in two ways')
  }
  const isStream = media?.essence === 'text/event-stream'
  if (isStream && media.charset !== null && media.charset !== 'utf-8') {
    return new Refusal('RESPONSE_REJECTED', 'events in another charset than UTF-8')
  }
  return { headers, contentType, media, isStream }
}

function readHeaders(response: UpstreamResponse): [string, string][] | Refusal {
  const headers: [string, string][] = []
  for (const [given, value] of response.headers) {
    const name = given.toLowerCase()
    if (name === 'content-encoding' && value !== 'identity') {
      return new Refusal('RESPONSE_REJECTED', `content-encoding ${value} was not asked for`)
    }
    if (!returnedNames.has(name)) continue
    if (headers.some(([known]) => known === name)) {
      return new Refusal('RESPONSE_REJECTED', `the response repeats ${name}`)
    }
    // RFC 9110, section 5.5. Node would refuse to send it on, when the outcome is already on record.
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      return new Refusal('RESPONSE_REJECTED', `${name} has a character that no field may have`)
    }
    if (name === 'mcp-session-id' && value.length > sessionIdLengthMax) {
      return new Refusal('RESPONSE_REJECTED', `a session id of ${value.length} characters`)
    }
    headers.push([name, value])
  }
  return headers
}

const signatureNames: ReadonlySet<string> = new Set(['signature', 'signature-input'])

/**
 * The fields with the one signature that is checked, under a label of ours. What stands beside it
 * is nobody's, and would carry anything.
 */
export function withOwnSignature(
  headers: ResponseHead['headers'],
  countersignature: SignedResponse | null,
): ResponseHead['headers'] {
  const rest = headers.filter(([name]) => !signatureNames.has(name))
  if (rest.length === headers.length || countersignature === null) return rest
  const { label } = countersignature
  const own = parseSignatures(headers).find((each) => each.label === label)
  if (own === undefined) return rest
  return [
    ...rest,
    ['signature-input', `callee=${formatMember(own.list)}`],
    ['signature', `callee=:${toBase64(own.signature)}:`],
  ]
}
