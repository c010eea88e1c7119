import {
  type Reader,
  readFlag,
  readList,
  readNullable,
  readObject,
  readOneOf,
  readText,
  readWhole,
} from './admin-reader.ts'

/** The policies in force, and the version that entries of the ledger name. */
export interface PoliciesView {
  readonly version: string
  readonly sources: readonly PolicyFile[]
}

/** A file of policies in Cedar; also the arguments that put one. */
export interface PolicyFile {
  readonly name: string
  readonly text: string
}

export interface PolicyPut {
  /** The version in force afterwards. */
  readonly version: string
  readonly taken: boolean
  /** The faults of a set that is not valid, a line each; empty when it was taken. */
  readonly problems: readonly string[]
  /** Of the set in force: what is valid and cannot mean what it was written for. */
  readonly warnings: readonly string[]
}

/** A decision, derived from the recorded request and the policies in force. */
export interface PolicyExplanation {
  readonly version: string
  readonly decision: {
    readonly effect: 'permit' | 'deny'
    readonly policies: readonly string[]
    readonly errors: readonly { readonly policy: string; readonly message: string }[]
    readonly obligations: ObligationsView
  }
  /** The policies that determined the decision. */
  readonly determining: readonly ExplainedPolicyView[]
  /** For a denial: the permits that came nearest, fewest unmet requirements first. */
  readonly nearest: readonly ExplainedPolicyView[]
  /** The same for a person, several lines. */
  readonly text: string
}

/** Stands in place of an explanation where the recorded request cannot be read. */
export interface UnexplainedDecision {
  readonly text: string
}

export interface ObligationsView {
  readonly mask: readonly string[]
  readonly block: readonly string[]
  readonly signedRequest: boolean
  readonly signedResponse: boolean
  readonly assurance: string
  readonly approval: string | null
}

/** One policy compared with one request. */
export interface ExplainedPolicyView {
  readonly policy: string
  readonly effect: 'permit' | 'forbid'
  readonly file: string
  readonly line: number
  readonly text: string
  readonly advice: string | null
  /** The obligations, as annotations. */
  readonly demands: readonly string[]
  readonly requirements: readonly RequirementView[]
}

export interface RequirementView {
  readonly part: 'principal' | 'action' | 'resource' | 'condition'
  readonly cedar: string
  readonly met: boolean
  /** One sentence for a person. */
  readonly says: string
}

export const readPoliciesView: Reader<PoliciesView> = readObject<PoliciesView>({
  version: readText,
  sources: readList(readObject<PolicyFile>({ name: readText, text: readText })),
})

export const readPolicyPut: Reader<PolicyPut> = readObject<PolicyPut>({
  version: readText,
  taken: readFlag,
  problems: readList(readText),
  warnings: readList(readText),
})

const readObligations: Reader<ObligationsView> = readObject<ObligationsView>({
  mask: readList(readText),
  block: readList(readText),
  signedRequest: readFlag,
  signedResponse: readFlag,
  assurance: readText,
  approval: readNullable(readText),
})

const readDecision: Reader<PolicyExplanation['decision']> = readObject<
  PolicyExplanation['decision']
>({
  effect: readOneOf(['permit', 'deny']),
  policies: readList(readText),
  errors: readList(readObject({ policy: readText, message: readText })),
  obligations: readObligations,
})

const readExplainedPolicy: Reader<ExplainedPolicyView> = readObject<ExplainedPolicyView>({
  policy: readText,
  effect: readOneOf(['permit', 'forbid']),
  file: readText,
  line: readWhole,
  text: readText,
  advice: readNullable(readText),
  demands: readList(readText),
  requirements: readList(
    readObject<RequirementView>({
      part: readOneOf(['principal', 'action', 'resource', 'condition']),
      cedar: readText,
      met: readFlag,
      says: readText,
    }),
  ),
})

const readFullExplanation: Reader<PolicyExplanation> = readObject<PolicyExplanation>({
  version: readText,
  decision: readDecision,
  determining: readList(readExplainedPolicy),
  nearest: readList(readExplainedPolicy),
  text: readText,
})

const readUnexplained: Reader<UnexplainedDecision> = readObject<UnexplainedDecision>({
  text: readText,
})

/** An explanation has a decision; without one there is only the reason why there is none. */
export const readExplanation: Reader<PolicyExplanation | UnexplainedDecision> = (value, where) => {
  const isExplained =
    typeof value === 'object' && value !== null && Object.hasOwn(value, 'decision')
  return isExplained ? readFullExplanation(value, where) : readUnexplained(value, where)
}
