import {
  decodePercent,
  isVoidSegment,
  percentFault,
  plainMediaType,
  utf8,
} from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'

/** Fields that may be forwarded to a receiver. Every other field of a caller is dropped. */
const forwardedNames: ReadonlySet<string> = new Set([
  'accept',
  'accept-language',
  'a2a-version',
  'a2a-extensions',
  'cache-control',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-timeout',
  'idempotency-key',
  'if-match',
  'if-none-match',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'prefer',
  'traceparent',
  'tracestate',
  'user-agent',
  'x-a2a-extensions',
  'x-request-id',
])

/** Read by us, once each: a second value is how one parser is set against another. */
const singleNames: ReadonlySet<string> = new Set([
  ...forwardedNames,
  'authorization',
  'content-digest',
  'content-encoding',
  'content-length',
  'countersign-accept-signature',
  'countersign-body',
  'countersign-decision',
  'countersign-exchange',
  'countersign-from',
  'countersign-timeout',
  'countersign-to',
  'host',
  'origin',
  'sec-fetch-site',
  'signature',
  'signature-input',
  'transfer-encoding',
  'x-api-key',
])

/** As many fields as any sane client sends, several times over. */
const headerCountMax = 100
const fieldsLimit = { name: 'http.headerFields', value: headerCountMax, unit: 'count' } as const

export interface Head {
  readonly method: string
  /** Path with query, exactly as it will be authorized and, without its prefix, forwarded. */
  readonly path: string
  readonly authority: string
  /** Every field that any part of the fabric reads, lower-case names, each at most once. */
  readonly headers: ReadonlyMap<string, string>
}

export interface RawHead {
  readonly method: string
  readonly url: string
  /** Name, value, name, value …, as the parser saw them. */
  readonly rawHeaders: readonly string[]
  readonly authority: string
  readonly httpVersion?: string
}

/** The methods that a request may have, which are the operations of plain HTTP. */
export const METHODS: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/**
 * Reads a request head once, strictly. Node joins or drops repeated fields by name; here a repeated
 * field is refused if any reader decides by it, so that no two readers can disagree.
 */
export function readHead(raw: RawHead): Head | Refusal {
  if (!METHODS.includes(raw.method)) {
    return new Refusal('OPERATION_UNKNOWN', `method ${raw.method}`)
  }
  if (raw.url.length > pathBytesMax) {
    return overLimit('MESSAGE_TOO_LARGE', pathLimit)
  }
  const fault = pathFault(raw.url)
  if (fault !== null) return new Refusal('MESSAGE_MALFORMED', fault)
  if (raw.rawHeaders.length > headerCountMax * 2) {
    return overLimit('MESSAGE_TOO_LARGE', fieldsLimit)
  }
  const headers = new Map<string, string>()
  for (let i = 0; i + 1 < raw.rawHeaders.length; i += 2) {
    const name = (raw.rawHeaders[i] ?? '').toLowerCase()
    if (!singleNames.has(name)) {
      // Mcp-Param-* mirror arguments of the body (MCP 2026-07-28); the receiver compares them.
      if (!name.startsWith('mcp-param-')) continue
    }
    // CGI and WSGI give both spellings of a name to the application as one field.
    const twin = headers.has(name) ? name : twinOf(name, headers)
    if (twin !== null) return new Refusal('MESSAGE_MALFORMED', `${twin} occurs twice`)
    headers.set(name, raw.rawHeaders[i + 1] ?? '')
  }
  const host = headers.get('host')
  if (host === undefined && raw.authority === '') {
    return new Refusal('MESSAGE_MALFORMED', 'no Host')
  }
  if (host !== undefined && raw.authority !== '' && host !== raw.authority) {
    return new Refusal(
      'MESSAGE_MALFORMED',
      'Host and the request target name different authorities',
    )
  }
  const coding = headers.get('transfer-encoding')
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    return new Refusal('MESSAGE_MALFORMED', `transfer-encoding ${coding}`)
  }
  if (coding !== undefined && raw.httpVersion === '1.0') {
    return new Refusal('MESSAGE_MALFORMED', 'HTTP/1.0 has no transfer codings')
  }
  const encoding = headers.get('content-encoding')
  if (encoding !== undefined && encoding !== 'identity') {
    return new Refusal('CONTENT_UNSUPPORTED', `content-encoding ${encoding}`)
  }
  return {
    method: raw.method,
    path: raw.url,
    authority: host ?? raw.authority,
    headers,
  }
}

function twinOf(name: string, headers: ReadonlyMap<string, string>): string | null {
  if (!name.startsWith('mcp-param-')) return null
  const spelled = name.replaceAll('_', '-')
  return [...headers.keys()].find((each) => each.replaceAll('_', '-') === spelled) ?? null
}

/** The fields of a head that travel on to a receiver. */
export function forwardedHeaders(head: Head): [string, string][] {
  const passing = [...head.headers].filter(
    ([name]) => forwardedNames.has(name) || name.startsWith('mcp-param-'),
  )
  const given = head.headers.get('content-type') ?? ''
  const type = plainMediaType(given)
  if (type === given) return passing
  return passing.map(([name, value]) => [name, name === 'content-type' ? type : value])
}

const pathBytesMax = 8192
const pathLimit = { name: 'http.pathBytes', value: pathBytesMax, unit: 'bytes' } as const

/**
 * Only one spelling of a path is let in, so what is authorized is what is forwarded: no dot
 * segments and no empty segments, with parameters or without, no encoded slash, backslash, dot or
 * control character (the ways round an authorizer that normalizes differently than its upstream).
 */
function pathFault(url: string): string | null {
  if (!url.startsWith('/')) return 'the request target is not a path'
  const path = url.split('?', 1)[0] ?? ''
  if (/[^\x21-\x7e]|[\\#]/.test(url)) return 'the path has a character that must be encoded'
  if (/%(?![0-9A-Fa-f]{2})/.test(url)) return 'the path has a broken percent-encoding'
  if (/%(?:2f|5c|2e|25|0[0-9a-f]|1[0-9a-f]|7f)/i.test(path)) {
    return 'the path encodes a separator, a dot, a percent sign or a control character'
  }
  const inPercents = url.includes('%') ? percentFault(utf8(url)) : null
  if (inPercents !== null) return inPercents
  const segments = path.slice(1).split('/')
  return segments.slice(0, -1).includes('') ? 'the path has an empty segment' : segmentFault(path)
}

/** Readers of Windows and of some frameworks take these for a slash or a backslash. */
const likeSlash = /[\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c]/u
const suspect = /[;%]|(?:^|\/)\.+(?:\/|$)/

/**
 * A segment that is empty or a dot segment to a receiver that cuts parameters (`..;x`), drops
 * blanks and dots at an end, or folds full-width characters.
 */
function segmentFault(path: string): string | null {
  if (!suspect.test(path)) return null
  const decoded = path.includes('%') ? Buffer.from(decodePercent(utf8(path))).toString() : path
  if (likeSlash.test(decoded))
    return 'the path has a character that some receivers take for a slash'
  const segments = decoded.slice(1).split('/')
  const isVoid = segments.some((segment, i) => {
    // A slash at the end is a path of its own.
    const isEnd = i === segments.length - 1 && segment === ''
    return !isEnd && isVoidSegment(segment)
  })
  return isVoid ? 'the path has a dot segment, or one that is empty to some receivers' : null
}
