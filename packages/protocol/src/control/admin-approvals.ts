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

const states = ['pending', 'approved', 'denied', 'consumed'] as const

/** A request for an approval, as people decide on it: who asks whom for what, and no values. */
export interface ApprovalView {
  readonly id: string
  /** SHA-256 of the action, in hex; the entry that records the decision has the same. */
  readonly digest: string
  readonly state: (typeof states)[number]
  /** The principals' SPIFFE IDs. */
  readonly caller: string
  /** The user on whose behalf the caller acts; null for itself. */
  readonly user: string | null
  readonly receiver: string
  readonly protocol: string
  readonly operation: string
  readonly tool: string
  /** The names of the parameters. */
  readonly parameters: readonly string[]
  /** The text of the policy that requires the approval. */
  readonly reason: string
  /** The refused exchange that asked for it. */
  readonly requestedBy: string
  readonly requestedAt: number
  readonly expiresAt: number
  readonly approver: string | null
  readonly decidedAt: number | null
  /** The approver's own reason. */
  readonly note: string
  /** The exchange that used it. */
  readonly consumedBy: string | null
}

export interface ApprovalArgs {
  readonly id: string
  /** Why; recorded with the decision. */
  readonly reason: string
}

/** The request after a decision; `taken` is false if it was decided or had ended before. */
export interface DecidedApproval {
  readonly approval: ApprovalView
  readonly taken: boolean
}

export const readApprovalView: Reader<ApprovalView> = readObject<ApprovalView>({
  id: readText,
  digest: readText,
  state: readOneOf(states),
  caller: readText,
  user: readNullable(readText),
  receiver: readText,
  protocol: readText,
  operation: readText,
  tool: readText,
  parameters: readList(readText),
  reason: readText,
  requestedBy: readText,
  requestedAt: readWhole,
  expiresAt: readWhole,
  approver: readNullable(readText),
  decidedAt: readNullable(readWhole),
  note: readText,
  consumedBy: readNullable(readText),
})

export const readDecidedApproval: Reader<DecidedApproval> = readObject<DecidedApproval>({
  approval: readApprovalView,
  taken: readFlag,
})
