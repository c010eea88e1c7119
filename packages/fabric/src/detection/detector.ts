import type { PrincipalKey } from '@countersign/protocol'

/** One exchange, or one refusal of it, as detection sees it. */
export interface Observation {
  readonly at: number
  readonly caller: PrincipalKey
  readonly receiver: string
  readonly action: string
  readonly outcome: 'permitted' | 'refused'
  /** 1, or 0 for what others decide the pace of, such as messages of a channel. */
  readonly messages?: number
  readonly bytes: number
  /** The bytes that came back; an amount that others decide, and of little weight. */
  readonly receivedBytes?: number
  readonly findings: number
  /** Number of the findings that are credentials; left out if they were not counted. */
  readonly credentials?: number
  /** Findings that only the connector of another agent counted, credentials included. */
  readonly claimed?: { readonly findings: number; readonly credentials: number }
  /** Refused for a reason that others can have brought about; such an outcome is not `refused`. */
  readonly isDeclined?: boolean
  /** True if only the response is reported: the exchange itself was reported before. */
  readonly isResponse?: boolean
  /** Credentials that the agent put into a response. */
  readonly leaked?: number
}

export interface Signal {
  readonly detector: string
  readonly agent: PrincipalKey
  readonly at: number
  /** The part that this signal adds to the risk score, 0 to 100. */
  readonly weight: number
  /** One sentence for a person. */
  readonly says: string
}

export interface Risk {
  /** 0 to 100, decaying. */
  readonly score: number
  readonly signals: readonly Signal[]
}

/** Watches exchanges and keeps a decaying risk score for each principal. Bounded in memory. */
export interface Detection {
  observe(observation: Observation): readonly Signal[]
  /**
   * Takes a signal from outside: another detector, an operator, a cloud service. Its caller will be
   * the import of findings, once the finding is an entry of the ledger, which states `now`.
   */
  raise(signal: Signal, now: number): void
  riskOf(agent: PrincipalKey, now: number): Risk
  /** The score of `riskOf`, without its signals. */
  scoreOf(agent: PrincipalKey, now: number): number
}
