import { isExchangeId, isId, parseSpiffeId } from '../encoding/ids.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { operationLengthMax, wordsLengthMax } from '../log/fact-bounds.ts'

/**
 * Body of `POST /v1/mesh/approvals`: a connector is about to deliver an action to its agent, and
 * policy requires an approval of it. The receiver is the connector's own agent. The caller acts for
 * itself: a connector has no proof of a user, and a claim that names one is malformed.
 */
export interface MeshApprovalClaim {
  readonly exchange: string
  /** Of the action, in hex. */
  readonly digest: string
  /** A SPIFFE ID. */
  readonly caller: string
  readonly protocol: string
  readonly operation: string
  readonly tool: string
  /** Names, never values. */
  readonly parameters: readonly string[]
  readonly reason: string
}

/** The answer: the approval is used by this exchange, or waits for a person, or was denied. */
export type MeshApprovalAnswer =
  | { readonly state: 'used'; readonly id: string; readonly approver: string }
  | { readonly state: 'pending' | 'denied'; readonly id: string; readonly expiresAt: number }

const parametersMax = 64
const parameterLengthMax = 128
/** The texts of all policies that a permit may unite. */
const reasonLengthMax = 8_192
const digestForm = /^[0-9a-f]{64}$/

/** Throws a MalformedError on anything else. */
export function parseMeshApprovalClaim(value: unknown): MeshApprovalClaim {
  const claim = membersOf(value)
  const { exchange, digest, caller, parameters } = claim
  if (!isExchangeId(exchange)) throw new MalformedError('the exchange is not an id')
  if (typeof digest !== 'string' || !digestForm.test(digest)) {
    throw new MalformedError('the digest of the action is malformed')
  }
  if (!isPrincipal(caller)) throw new MalformedError('the caller is not a principal')
  if (Object.hasOwn(claim, 'user')) throw new MalformedError('a connector cannot prove a user')
  if (!Array.isArray(parameters) || parameters.length > parametersMax) {
    throw new MalformedError('the parameters are not a list of names')
  }
  const names = parameters.map((name: unknown) => textOf(name, parameterLengthMax))
  return {
    ...{ exchange, digest, caller, parameters: names },
    protocol: textOf(claim['protocol'], 16),
    operation: textOf(claim['operation'], operationLengthMax),
    tool: textOf(claim['tool'], wordsLengthMax),
    reason: textOf(claim['reason'], reasonLengthMax),
  }
}

/** Throws a MalformedError on anything else. */
export function parseMeshApprovalAnswer(value: unknown): MeshApprovalAnswer {
  const { state, id, approver, expiresAt } = membersOf(value)
  if (!isId('apr', id)) throw new MalformedError('the answer names no approval')
  if (state === 'used' && isPrincipal(approver)) return { state, id, approver }
  const isTime = typeof expiresAt === 'number' && Number.isSafeInteger(expiresAt)
  if ((state === 'pending' || state === 'denied') && isTime) return { state, id, expiresAt }
  throw new MalformedError('the answer about an approval is malformed')
}

/** An approval as the field `Countersign-Approval` of a refusal names it. */
export interface ApprovalField {
  readonly id: string
  /** Unix milliseconds, whole seconds. */
  readonly expiresAt: number
}

/** `apr_…; expires=1795000000`, in Unix seconds. */
export function formatApprovalField({ id, expiresAt }: ApprovalField): string {
  return `${id}; expires=${Math.floor(expiresAt / 1000)}`
}

/** Null for any other text. */
export function parseApprovalField(text: string | null): ApprovalField | null {
  const [, id, seconds] = /^(apr_[0-9a-f]{32}); ?expires=(\d{1,12})$/.exec(text ?? '') ?? []
  if (!isId('apr', id) || seconds === undefined) return null
  return { id, expiresAt: Number(seconds) * 1000 }
}

function isPrincipal(value: unknown): value is string {
  const id = typeof value === 'string' ? parseSpiffeId(value) : null
  return id !== null && id.kind !== 'fabric' && id.instance === null
}

function textOf(value: unknown, max: number): string {
  if (typeof value === 'string' && value.length <= max && value.isWellFormed()) return value
  throw new MalformedError('a text of the claim is malformed')
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw new MalformedError('an object is expected')
}
