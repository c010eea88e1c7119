import {
  canonicalJson,
  isJsonEssence,
  type JsonValue,
  MalformedError,
  parseMediaType,
  parseUtf8,
  toHex,
  utf8,
} from '@countersign/protocol'
import { sha256 } from '../lib/sha256.ts'
import { type ExactValue, parseExactJson } from './exact-value.ts'

/** The part of a request that states what is to be done. */
export interface ActionContent {
  readonly protocol: string
  readonly contentType: string
  /** As it would leave for the receiver. */
  readonly body: Uint8Array
}

/** JSON beyond this is read in more time than one request may take on the event loop. */
export const ACTION_JSON_BYTES_MAX = 262_144

/** A request that needs an approval has more JSON than a digest is made of. */
export class ActionTooLarge extends Error {}

/**
 * The content of an action in a form that a digest commits to: JSON by its canonical form, without
 * the ids that a client makes up anew for each attempt, everything else byte by byte. Throws a
 * MalformedError on JSON that readers differ over, and an ActionTooLarge.
 */
export function contentForm({ protocol, contentType, body }: ActionContent): JsonValue {
  if (body.length === 0) return null
  const media = parseMediaType(contentType)
  if (media === null || !isJsonEssence(media.essence)) return { bytes: toHex(sha256(body)) }
  if (body.length > ACTION_JSON_BYTES_MAX) throw new ActionTooLarge('too much JSON to approve')
  const read = parseExactJson(parseUtf8(body))
  const { value, exact } = withoutAttempt(protocol, read)
  try {
    const json = toHex(sha256(utf8(canonicalJson(value))))
    return { json, exact: exact.map(([path, decimal]) => [[...path], decimal]) }
  } catch (cause) {
    throw new MalformedError(String(cause))
  }
}

/** Reads the same JSON for people; null where the content is not JSON. */
export function contentValue(content: ActionContent): JsonValue {
  if (content.body.length === 0) return null
  const media = parseMediaType(content.contentType)
  if (media === null || !isJsonEssence(media.essence)) return null
  return parseExactJson(parseUtf8(content.body)).value
}

/** Any other text in these members could be an instruction to a lenient receiver. */
const idText = /^[A-Za-z0-9._:/+=@-]{1,128}$/
const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
const tracestate = /^[a-z0-9_*/@=.:;,~ +-]{0,512}$/i

const isIdText = (value: unknown): boolean => typeof value === 'string' && idText.test(value)
const isToken = (value: unknown): boolean => Number.isSafeInteger(value) || isIdText(value)

type Omission = readonly [path: readonly string[], isAttempt: (value: unknown) => boolean]

/** JSON-RPC 2.0, section 4: the id pairs a response with its request. */
const rpcId: Omission = [['id'], (value) => value === null || isToken(value)]

/** The members that a client sets anew for each attempt of one action. */
const omissions: Readonly<Record<string, readonly Omission[]>> = {
  a2a: [
    rpcId,
    [['params', 'message', 'messageId'], isIdText],
    // The HTTP+JSON binding has the message at the top.
    [['message', 'messageId'], isIdText],
  ],
  mcp: [
    rpcId,
    [['params', '_meta', 'progressToken'], isToken],
    [
      ['params', '_meta', 'traceparent'],
      (value) => typeof value === 'string' && traceparent.test(value),
    ],
    [
      ['params', '_meta', 'tracestate'],
      (value) => typeof value === 'string' && tracestate.test(value),
    ],
  ],
}

function withoutAttempt(protocol: string, read: ExactValue): ExactValue {
  const rows = Object.hasOwn(omissions, protocol) ? (omissions[protocol] ?? []) : []
  const { exact } = read
  let { value } = read
  for (const [path, isAttempt] of rows) {
    // A number with more digits than a double is not one of the ids that clients make up.
    if (exact.some(([at]) => isSamePath(at, path))) continue
    value = without(value, path, isAttempt)
  }
  return { value: withoutEmptyMeta(value), exact }
}

function isSamePath(a: readonly (string | number)[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, at) => each === b[at])
}

function without(
  value: JsonValue,
  [name, ...rest]: readonly string[],
  isAttempt: (value: unknown) => boolean,
): JsonValue {
  if (!isObject(value) || name === undefined || !Object.hasOwn(value, name)) return value
  const inner = value[name] ?? null
  if (rest.length > 0) return { ...value, [name]: without(inner, rest, isAttempt) }
  if (!isAttempt(inner)) return value
  const { [name]: _, ...others } = value
  return others
}

/** A client that sends a progress token in one attempt alone would ask for two approvals. */
function withoutEmptyMeta(value: JsonValue): JsonValue {
  return without(value, ['params', '_meta'], (meta) => isObject(meta) && isEmpty(meta))
}

const isEmpty = (value: object): boolean => Object.keys(value).length === 0

function isObject(value: unknown): value is { readonly [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
