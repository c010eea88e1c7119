import { canonicalJson, type JsonValue, type Principal, toHex, utf8 } from '@countersign/protocol'
import { sha256 } from '../lib/sha256.ts'
import { type ActionContent, contentForm } from './action-content.ts'

/** One action: who asks whom for what. A receiver acts alike on two requests for the same one. */
export interface Action extends ActionContent {
  readonly caller: Principal
  /** On whose behalf the caller acts; null for itself. */
  readonly user: Principal | null
  readonly receiver: Principal
  readonly action: string
  readonly operation: string
  readonly tool: string
  readonly method: string
  /** Path and query as they are forwarded, under the receiver's root. */
  readonly path: string
  /** The fields that are forwarded, with lower-case names. */
  readonly headers: readonly (readonly [string, string])[]
}

/**
 * The forwarded fields that differ between attempts of one action, or that state how the answer is
 * wanted. Every other field is part of the action: a receiver may act on it.
 */
const attemptFields: ReadonlySet<string> = new Set([
  'accept',
  'accept-language',
  'idempotency-key',
  'last-event-id',
  'traceparent',
  'tracestate',
  'user-agent',
  'x-request-id',
])

/** A client opens a session anew; an answer, a stream or the end of a session is about its own. */
const sessionField = 'mcp-session-id'

/** Changes with the form below, so that digests of two forms never meet. */
const version = 'countersign-action-2'

/**
 * SHA-256 over the canonical form (RFC 8785) of an action. It is made of what would be forwarded,
 * after masking: two requests share a digest only if their receiver gets the same, and the digest
 * of a masked value does not let anyone guess that value. Throws as `contentForm` does.
 */
export function actionDigest(action: Action): Uint8Array {
  const { form: content, isCall } = contentForm(action)
  const headers = action.headers
    .filter(([name]) => !attemptFields.has(name) && !(isCall && name === sessionField))
    .map(([name, value]) => [name, value])
  const form: JsonValue = {
    version,
    caller: principalForm(action.caller),
    user: action.user === null ? null : principalForm(action.user),
    receiver: principalForm(action.receiver),
    action: action.action,
    protocol: action.protocol,
    operation: action.operation,
    tool: action.tool,
    method: action.method,
    path: action.path,
    // By name and then by value: the order of fields of different names means nothing.
    headers: headers.sort((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1)),
    content,
  }
  return sha256(utf8(canonicalJson(form)))
}

/** The digest as approvals name it. */
export function actionDigestText(action: Action): string {
  return toHex(actionDigest(action))
}

function principalForm({ kind, issuer, subject }: Principal): JsonValue {
  return { kind, issuer, subject }
}
