import {
  isPrincipalKey,
  type PrincipalKey,
  parseBase64Url,
  parseUtf8,
  toBase64Url,
  utf8,
} from '@countersign/protocol'
import type { Claimed } from '../identity/issuers.ts'
import type { Decision, PolicyContext, PolicyRequest } from '../policy/policy.ts'
import type { Authorized } from './authorize.ts'
import type { Exchange } from './exchange.ts'

/** Set by the gateway alone, for connectors alone; it stays on that hop. */
export const DECISION_FIELD = 'countersign-decision'

type Asked = Pick<PolicyContext, 'protocol' | 'operation' | 'tool' | 'method' | 'signed'>

/**
 * The question that a gateway answered with a permit, under which set, and what the permit obliged
 * to.
 */
export interface ForwardedDecision extends Asked {
  readonly policyVersion: string
  readonly obligations: Pick<
    Decision['obligations'],
    'mask' | 'block' | 'signedResponse' | 'approval'
  >
  /**
   * Owners of the tasks in the request, other than the caller, in canonical form: `administer` was
   * asked for each.
   */
  readonly taskOwners: readonly string[]
  /** A caller of another issuer, which no directory describes; null for all others. */
  readonly vouched: (Claimed & { readonly risk: number }) | null
  /** On whose behalf the caller acts, in canonical form; empty for itself. */
  readonly user: PrincipalKey | ''
}

/**
 * Formats the facts that the receiver's connector needs to ask again without knowing how the caller
 * proved itself.
 */
export function formatDecision({
  caller,
  target,
  decision,
  question,
  policyVersion,
}: Exchange<Authorized>): string {
  const { protocol, operation, tool, method, signed } = question.context
  // An approval that the decision required was used before the intent.
  const { mask, block, signedResponse, approval } = decision.obligations
  const obligations = { mask, block, signedResponse, approval }
  const taskOwners = [...(target.foreignOwners?.of(caller.principal) ?? [])]
  const vouched = caller.claimed === undefined ? null : describedCaller(question)
  const told: ForwardedDecision = {
    ...{ policyVersion, protocol, operation, tool, method, signed, obligations, taskOwners },
    ...{ vouched, user: caller.onBehalfOf?.user ?? '' },
  }
  return toBase64Url(utf8(JSON.stringify(told)))
}

function describedCaller({ principal, context }: PolicyRequest): ForwardedDecision['vouched'] {
  const { roles, segment, attributes } = principal
  return { roles, segment, attributes, risk: context.risk }
}

/** Null for what no gateway of this version writes. */
export function parseDecision(text: string | undefined): ForwardedDecision | null {
  const bytes = text === undefined ? null : parseBase64Url(text)
  if (bytes === null) return null
  try {
    const value: unknown = JSON.parse(parseUtf8(bytes))
    return isDecision(value) ? value : null
  } catch {
    return null
  }
}

const protocols: readonly unknown[] = ['a2a', 'mcp', 'http'] satisfies PolicyContext['protocol'][]
const methods: readonly unknown[] = [
  'certificate',
  'token',
  'api-key',
] satisfies PolicyContext['method'][]

function isDecision(value: unknown): value is ForwardedDecision {
  if (!isObject(value) || !isObject(value['obligations'])) return false
  const { policyVersion, protocol, operation, tool, method, signed, obligations } = value
  return (
    [policyVersion, operation, tool].every((each) => typeof each === 'string') &&
    protocols.includes(protocol) &&
    methods.includes(method) &&
    typeof signed === 'boolean' &&
    isTexts(value['taskOwners']) &&
    isVouched(value['vouched']) &&
    (value['user'] === '' || isPrincipalKey(value['user'])) &&
    isTexts(obligations['mask']) &&
    isTexts(obligations['block']) &&
    typeof obligations['signedResponse'] === 'boolean' &&
    (obligations['approval'] === null || typeof obligations['approval'] === 'string')
  )
}

function isVouched(value: unknown): boolean {
  if (value === null) return true
  if (!isObject(value) || !isObject(value['attributes'])) return false
  const { roles, segment, attributes, risk } = value
  const isScalar = (each: unknown) => ['string', 'number', 'boolean'].includes(typeof each)
  return (
    isTexts(roles) &&
    typeof segment === 'string' &&
    Object.values(attributes).every(isScalar) &&
    typeof risk === 'number'
  )
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}
