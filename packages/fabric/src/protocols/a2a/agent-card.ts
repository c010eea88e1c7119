import {
  canonicalJson,
  type JsonValue,
  loopbackHostnames,
  parseStrictJson,
  parseUtf8,
  toBase64Url,
  utf8,
} from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { RouteProtocol } from '../reading/route-protocol.ts'

/** Signs the cards that the fabric hands out. */
export interface CardSigner {
  readonly keyId: string
  /** Returns the Ed25519 signature. */
  sign(bytes: Uint8Array): Uint8Array
}

/** Options for rewriting a card so that it leads through the fabric. */
export interface CardMediation {
  /** The base URL under which the caller reaches the agent through us, without a trailing slash. */
  readonly baseUrl: string
  /** Origins under which the agent itself is reached; interfaces elsewhere are removed. */
  readonly upstreamUrls: readonly string[]
  /**
   * Protocol of the route: an interface of any other protocol does not lead to the agent through
   * the fabric.
   */
  readonly protocol: RouteProtocol
  readonly signer: CardSigner
  /** True if callers must present a credential here; on a connector's loopback they need none. */
  readonly credentialsRequired: boolean
}

type JsonObject = { readonly [name: string]: JsonValue }

/** AgentCard of A2A 1.0 (section 4.4.1) and, below the line, of 0.3. Other fields are dropped. */
const cardFields: readonly string[] = [
  'name',
  'description',
  'supportedInterfaces',
  'provider',
  'version',
  'documentationUrl',
  'capabilities',
  'defaultInputModes',
  'defaultOutputModes',
  'skills',
  'iconUrl',
  // 0.3
  'protocolVersion',
  'url',
  'preferredTransport',
  'additionalInterfaces',
  'supportsAuthenticatedExtendedCard',
]

/**
 * The fields of what stands inside a card of 1.0. Others would be on the card but, since verifiers
 * drop what they do not know, not under its signature. A skill's own security is replaced by ours.
 */
const innerFields: Readonly<Record<string, readonly string[]>> = {
  supportedInterfaces: ['url', 'protocolBinding', 'tenant', 'protocolVersion'],
  provider: ['url', 'organization'],
  capabilities: ['streaming', 'pushNotifications', 'extensions', 'extendedAgentCard'],
  extensions: ['uri', 'description', 'required', 'params'],
  skills: ['id', 'name', 'description', 'tags', 'examples', 'inputModes', 'outputModes'],
}

/**
 * Rewrites an Agent Card so that every interface in it leads through us, states our security
 * instead of the agent's, and signs the result: rewriting breaks the agent's own signature, so the
 * caller has to trust ours (A2A 1.0, section 8.4).
 */
export function mediateCard(body: Uint8Array, mediation: CardMediation): Uint8Array | Refusal {
  const card = parseObject(body)
  if (card instanceof Refusal) return card
  const leading = mediated(card, mediation)
  return leading instanceof Refusal ? leading : utf8(JSON.stringify(leading))
}

/**
 * As `mediateCard`, for the card in a JSON-RPC answer to `GetExtendedAgentCard`; an error has none.
 */
function mediateAnswer(body: Uint8Array, mediation: CardMediation): Uint8Array | Refusal {
  const answer = parseObject(body)
  if (answer instanceof Refusal) return answer
  const { jsonrpc, id = null, result, error } = answer
  const kept = { jsonrpc: jsonrpc ?? '2.0', id }
  if (error !== undefined) return utf8(JSON.stringify({ ...kept, error }))
  if (!isObject(result)) return new Refusal('RESPONSE_REJECTED', 'the agent card is not an object')
  const leading = mediated(result, mediation)
  if (leading instanceof Refusal) return leading
  return utf8(JSON.stringify({ ...kept, result: leading }))
}

/**
 * Returns the function that rewrites an answer to `operation` so that its card leads through the
 * fabric; null if the answer does not hold a card. Any status that a client takes for success
 * counts; a stream of events does not.
 */
export function cardMediator(
  operation: string,
  status: number,
): ((body: Uint8Array, mediation: CardMediation) => Uint8Array | Refusal) | null {
  if (status < 200 || status > 299) return null
  if (operation === 'GetAgentCard') return mediateCard
  return operation === 'GetExtendedAgentCard' ? mediateAnswer : null
}

/** Cards are read, rewritten and signed on the event loop. Those in use have a few kilobytes. */
const cardLimit = { name: 'cards.bytes', value: 64 * 1024, unit: 'bytes' } as const
const jsonLimits = { namesMax: 4_000, valuesMax: 8_000 }

function parseObject(body: Uint8Array): JsonObject | Refusal {
  if (body.length > cardLimit.value) {
    return overLimit('RESPONSE_REJECTED', cardLimit, `an agent card of ${body.length} bytes`)
  }
  try {
    const value = parseStrictJson(parseUtf8(body), jsonLimits)
    return isObject(value)
      ? value
      : new Refusal('RESPONSE_REJECTED', 'the agent card is not an object')
  } catch (cause) {
    return new Refusal('RESPONSE_REJECTED', `the agent card does not parse: ${String(cause)}`)
  }
}

/** Each is compared with every address of the agent. */
const interfacesLimit = { name: 'cards.interfaces', value: 64, unit: 'count' } as const
const interfaceLists = ['supportedInterfaces', 'additionalInterfaces'] as const

function mediated(card: JsonObject, mediation: CardMediation): JsonObject | Refusal {
  for (const name of interfaceLists) {
    const listed = card[name]
    if (Array.isArray(listed) && listed.length > interfacesLimit.value) {
      return overLimit('RESPONSE_REJECTED', interfacesLimit, 'an agent card')
    }
  }
  return signCard(rewriteCard(card, mediation), mediation.signer)
}

function rewriteCard(card: JsonObject, mediation: CardMediation): JsonObject {
  const kept = Object.entries(card).filter(([name]) => cardFields.includes(name))
  const { url: oldUrl } = card
  const isOld = typeof oldUrl === 'string'
  const upstreams = mediation.upstreamUrls.map((url) => new URL(url))
  const rewriteUrl = (text: string): string | null =>
    urlThroughUs(text, mediation.baseUrl, upstreams)
  const known = isOld ? kept : kept.map(([name, value]) => [name, onlyKnown(name, value)] as const)
  const rewritten: Record<string, JsonValue> = Object.fromEntries(known)
  if (isOld) rewritten['url'] = rewriteUrl(oldUrl) ?? mediation.baseUrl
  const bindings = bindingsOf(mediation.protocol)
  for (const field of interfaceLists) {
    const listed = rewritten[field]
    if (!Array.isArray(listed)) continue
    rewritten[field] = listed.flatMap((entry: JsonValue) => {
      if (!isObject(entry) || typeof entry['url'] !== 'string') return []
      const binding = entry['protocolBinding'] ?? entry['transport']
      const url = rewriteUrl(entry['url'])
      return bindings.includes(binding) && url !== null ? [{ ...entry, url }] : []
    })
  }
  rewritten['capabilities'] = withoutPush(rewritten['capabilities'])
  if (mediation.credentialsRequired) Object.assign(rewritten, isOld ? securityOld : security)
  return rewritten
}

/** On a route of one protocol, paths name no operation (`classifyRest`). */
function bindingsOf(protocol: RouteProtocol): readonly unknown[] {
  return protocol === 'auto' ? ['JSONRPC', 'HTTP+JSON'] : ['JSONRPC']
}

/** `value` of the field `name` with the fields that A2A 1.0 gives it. */
function onlyKnown(name: string, value: JsonValue): JsonValue {
  const fields = innerFields[name]
  if (fields === undefined) return value
  if (Array.isArray(value)) return value.map((item: JsonValue) => onlyKnown(name, item))
  if (!isObject(value)) return value
  const kept = Object.entries(value)
    // `required` is the one flag whose default is written like its absence.
    .filter(
      ([field, inner]) => fields.includes(field) && !(field === 'required' && inner === false),
    )
    .map(([field, inner]) => [field, onlyKnown(field, inner)] as const)
  return Object.fromEntries(kept)
}

/** Push notifications are not carried, so they must not be offered. */
function withoutPush(capabilities: JsonValue | undefined): JsonValue {
  return isObject(capabilities) ? { ...capabilities, pushNotifications: false } : {}
}

const security = {
  securitySchemes: {
    apiKey: { apiKeySecurityScheme: { location: 'header', name: 'X-Api-Key' } },
    bearer: { httpAuthSecurityScheme: { scheme: 'Bearer', bearerFormat: 'JWT' } },
    mutualTls: { mtlsSecurityScheme: {} },
  },
  securityRequirements: [
    { schemes: { apiKey: { list: [] } } },
    { schemes: { bearer: { list: [] } } },
    { schemes: { mutualTls: { list: [] } } },
  ],
}

const securityOld = {
  securitySchemes: {
    apiKey: { type: 'apiKey', in: 'header', name: 'X-Api-Key' },
    bearer: { type: 'http', scheme: 'Bearer', bearerFormat: 'JWT' },
    mutualTls: { type: 'mutualTLS' },
  },
  security: [{ apiKey: [] }, { bearer: [] }, { mutualTls: [] }],
}

/**
 * The same path under our base, or null for an interface that does not lead to the agent we know.
 */
function urlThroughUs(text: string, baseUrl: string, upstreams: readonly URL[]): string | null {
  if (!URL.canParse(text)) return null
  const url = new URL(text)
  for (const known of upstreams) {
    const prefix = known.pathname.replace(/\/$/, '')
    const inside = url.pathname === prefix || url.pathname.startsWith(`${prefix}/`)
    if (samePlace(url, known) && inside) {
      return `${baseUrl}${url.pathname.slice(prefix.length)}${url.search}`
    }
  }
  return null
}

function samePlace(a: URL, b: URL): boolean {
  const sameHost =
    a.hostname === b.hostname ||
    (loopbackHostnames.has(a.hostname) && loopbackHostnames.has(b.hostname))
  return a.protocol === b.protocol && a.port === b.port && sameHost
}

/** A JWS (RFC 7515) over the card's canonical form, as A2A 1.0 section 8.4.2 lays it out. */
function signCard(card: JsonObject, signer: CardSigner): JsonObject {
  const header = toBase64Url(utf8(JSON.stringify({ alg: 'EdDSA', kid: signer.keyId, typ: 'JOSE' })))
  const payload = toBase64Url(utf8(canonicalJson(withoutDefaults(card))))
  const signature = toBase64Url(signer.sign(utf8(`${header}.${payload}`)))
  return { ...card, signatures: [{ protected: header, signature }] }
}

/**
 * Fields at their protobuf default, however deep, are not part of the signed form (section 8.4.1).
 */
function withoutDefaults(card: JsonObject): JsonObject {
  const kept = Object.entries(card).flatMap(([name, inner]) => {
    const present = presentOrNull(inner)
    return present === null ? [] : [[name, present] as const]
  })
  return Object.fromEntries(kept)
}

function presentOrNull(value: JsonValue): JsonValue {
  if (value === '') return null
  if (Array.isArray(value)) {
    const items = value
      .map((item: JsonValue) => presentOrNull(item))
      .filter((item) => item !== null)
    return items.length === 0 ? null : items
  }
  if (!isObject(value)) return value
  const kept = withoutDefaults(value)
  return Object.keys(kept).length === 0 ? null : kept
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
