import type { RefusalCode } from '@countersign/protocol'
import type { Decision } from './policy.ts'

/** Refusals of policy itself: without a decision they are the word of a receiver about itself. */
const policyCodes: readonly unknown[] = [
  'NOT_PERMITTED',
  'APPROVAL_REQUIRED',
  'APPROVAL_PENDING',
  'APPROVAL_DENIED',
  'SIGNATURE_MISSING',
] satisfies readonly RefusalCode[]

export function isOfPolicy(code: unknown): boolean {
  return policyCodes.includes(code)
}

const standings: Readonly<Record<string, string>> = {
  AGENT_QUARANTINED: 'quarantined',
  AGENT_REVOKED: 'revoked',
} satisfies Partial<Record<RefusalCode, string>>

/** The status of the caller that a refusal is about; null where it is about none. */
export function standingOf(code: unknown): string | null {
  return typeof code === 'string' && Object.hasOwn(standings, code)
    ? (standings[code] ?? null)
    : null
}

/**
 * Codes of inspection refusals after a permit. The decision that imposed the obligation is recorded
 * as well.
 */
const inspectionCodes: readonly string[] = [
  'CONTENT_UNSUPPORTED',
  'MESSAGE_MALFORMED',
  'MESSAGE_TOO_LARGE',
  'OVERLOADED',
  'UNDECIDED',
] satisfies readonly RefusalCode[]

const blocked = 'CONTENT_BLOCKED' satisfies RefusalCode

/** Reports whether a refusal after a permit is recorded with the decision. */
export function isOfInspection(code: RefusalCode): boolean {
  return code === blocked || inspectionCodes.includes(code)
}

const approvalCodes: readonly string[] = [
  'APPROVAL_REQUIRED',
  'APPROVAL_PENDING',
  'APPROVAL_DENIED',
] satisfies readonly RefusalCode[]

/** The codes of refusals to which a decision can lead, in the order in which `authorize` asks. */
export function statedCodes(
  { effect, obligations }: Pick<Decision, 'effect' | 'obligations'>,
  asked: { readonly signed: boolean; readonly isKnown: boolean; readonly isUnknown: boolean },
): readonly string[] {
  if (effect !== 'permit') return ['NOT_PERMITTED']
  const unknown = asked.isUnknown ? ['RECEIVER_UNKNOWN'] : []
  if (!asked.isKnown) return unknown
  const { approval, signedRequest, mask, block } = obligations
  if (signedRequest && !asked.signed) return [...unknown, 'SIGNATURE_MISSING']
  // Nothing is looked for that no policy names.
  const found = mask.length + block.length > 0 ? [blocked] : []
  return [...unknown, ...found, ...inspectionCodes, ...(approval === null ? [] : approvalCodes)]
}
