import { isRefusalCode } from '../control/refusals.ts'
import { utf8 } from '../encoding/bytes.ts'
import { isAssignableName, isId, parseSpiffeId } from '../encoding/ids.ts'
import { isLegible } from '../encoding/legible.ts'
import { batchSignatureBytes } from '../signatures/http-signature-base.ts'
import { endingFault } from './ending-fault.ts'
import { missingFact, operationLengthMax, wordsLengthMax } from './fact-bounds.ts'
import type { MeshEntry, MeshEntryKind, MeshFact } from './mesh-format.ts'
import { isExchangeResult, REFUSAL_RESULTS } from './receipt-ending.ts'

type Rule = (value: MeshFact) => boolean

/** Bytes of UTF-8 of one text fact; with its name and head it stays below `factBytesMax`. */
export const meshTextBytesMax = 60_000

const rulesLengthMax = 16_384

/** Text that is shown as it is, of at most `max` UTF-16 units. */
const name =
  (max: number, min = 1): Rule =>
  (value) =>
    typeof value === 'string' && value.length >= min && value.length <= max && isLegible(value)

/**
 * `SendMessage`, `tools/call`, `POST`, `notifications/x.y`: names of methods. Those of
 * administration, such as `agent.revoke`, have a dot in the first part, so that no connector can
 * state one.
 */
const operation = /^[A-Za-z][A-Za-z0-9_-]*(?:\/[A-Za-z0-9_.$-]+)*$/

/** Reports whether `text` is the name of an operation as a message or a connector may give it. */
export function isOperationName(text: unknown): text is string {
  return typeof text === 'string' && text.length <= operationLengthMax && operation.test(text)
}

/** Text of any characters, which every view escapes. */
const words =
  (max: number): Rule =>
  (value) =>
    typeof value === 'string' && value.length <= max && value.isWellFormed() && fits(value)

/** No UTF-16 unit takes more than three bytes, so that most texts need not be encoded. */
const fits = (text: string): boolean =>
  text.length * 3 <= meshTextBytesMax || utf8(text).length <= meshTextBytesMax

const oneOf =
  (...values: readonly string[]): Rule =>
  (value) =>
    typeof value === 'string' && values.includes(value)

const matching =
  (pattern: RegExp): Rule =>
  (value) =>
    typeof value === 'string' && pattern.test(value)

const bytes =
  (length: number): Rule =>
  (value) =>
    value instanceof Uint8Array && value.length === length

/** By itself, or in a batch; verification decides which one the signed base states. */
const isSignature: Rule = (value) =>
  value instanceof Uint8Array && (value.length === 64 || batchSignatureBytes.has(value.length))

const between =
  (min: number, max: number): Rule =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max

/** Maximum size that one exchange can carry, as detection adds it up. */
const size = between(0, 2 ** 40)

const isPrincipal: Rule = (value) => {
  const id = typeof value === 'string' ? parseSpiffeId(value) : null
  return id !== null && id.kind !== 'fabric' && id.instance === null
}

/**
 * Not the fabric itself, which is never the receiver in a connector's entry; `unknown` where it
 * could not be read.
 */
const isReceiver: Rule = (value) =>
  typeof value === 'string' && (isAssignableName(value) || value === 'unknown')

/** `card:1 email:2`, as inspection counts what it masked. */
const maskedCounts = matching(/^(?:[a-z][a-z0-9-]{0,31}:\d{1,9}(?: (?=[a-z])|$)){0,64}$/)

/** The facts about the request that both kinds of opening entry state. */
const asked = {
  transport: oneOf('mesh'),
  producer: isPrincipal,
  protocol: oneOf('a2a', 'mcp', 'http'),
  operation: isOperationName,
  tool: name(wordsLengthMax, 0),
  caller: isPrincipal,
  'caller.method': oneOf('certificate'),
  receiver: isReceiver,
  'policy.version': matching(/^[0-9a-f]{64}$/),
  'policy.rules': words(rulesLengthMax),
  'request.digest': bytes(32),
  'private.request': words(meshTextBytesMax),
  'approval.id': (value) => isId('apr', value),
  'approval.digest': bytes(32),
} satisfies Record<string, Rule>

const ended = {
  transport: oneOf('mesh'),
  producer: isPrincipal,
  result: isExchangeResult,
  code: isRefusalCode,
  progress: oneOf('not-sent', 'sent', 'answered'),
  attempts: between(1, 100),
  'stated.by': oneOf('receiver'),
  status: between(100, 599),
  'attested.response': oneOf('callee', 'connector'),
  'response.bytes': size,
  'response.digest': bytes(32),
  'response.end': oneOf('connection'),
  'response.forwarded-digest': bytes(32),
  'response.masked': maskedCounts,
  'response.key': bytes(32),
  'response.signature': isSignature,
  'response.signature-base': words(meshTextBytesMax),
  'request.transcript': bytes(32),
  'request.forwarded-transcript': bytes(32),
  'request.frames': between(0, Number.MAX_SAFE_INTEGER),
  'request.bytes': size,
  'request.masked': maskedCounts,
  transcript: bytes(32),
  events: between(0, Number.MAX_SAFE_INTEGER),
  'private.detail': words(wordsLengthMax),
} satisfies Record<string, Rule>

/**
 * Every fact that a connector may record, with its type and size. The fabric alone records
 * `forwarded.*`.
 */
const rules: Readonly<Record<MeshEntryKind, Readonly<Record<string, Rule>>>> = {
  intent: {
    ...asked,
    'caller.credential': matching(/^[A-Za-z0-9:._=+/-]{1,128}$/),
    'approval.approver': isPrincipal,
    'request.bytes': size,
    'request.forwarded-digest': bytes(32),
    'request.streamed': oneOf('ndjson', 'grpc', 'blocks'),
    masked: maskedCounts,
    'attested.request': oneOf('caller', 'connector'),
    'request.key': bytes(32),
    'request.signature': isSignature,
    'request.signature-base': words(meshTextBytesMax),
  },
  refusal: {
    ...asked,
    code: isRefusalCode,
    result: oneOf(...REFUSAL_RESULTS),
    'private.by-others': (value) => value === true,
    'private.detail': words(wordsLengthMax),
  },
  outcome: ended,
  indeterminate: { ...ended, result: oneOf('unknown') },
}

/** Facts by which an entry is known as one of a connector, and as that of which one. */
const missingOfMesh = ['transport', 'producer']

/** Returns why the facts of an entry are not what a connector records; null when they are. */
export function meshFactsFault({ kind, facts }: Pick<MeshEntry, 'kind' | 'facts'>): string | null {
  for (const [fact, value] of Object.entries(facts)) {
    const rule = Object.hasOwn(rules[kind], fact) ? rules[kind][fact] : undefined
    if (rule === undefined) return `an entry of kind ${kind} has no fact of that name`
    if (!rule(value)) return `${fact} has a value that it cannot have`
  }
  const contradiction = endingFault(kind, facts)
  if (contradiction !== null) return contradiction
  const missing =
    missingFact(kind, facts) ?? missingOfMesh.find((name) => !Object.hasOwn(facts, name))
  return missing === undefined ? null : `an entry of kind ${kind} needs ${missing}`
}
