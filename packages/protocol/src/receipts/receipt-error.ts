/** Every way a receipt fails, and the sentence that a reader gets. */
export const RECEIPT_FAULTS = {
  RECEIPT_MALFORMED: 'the file is not a receipt',
  RECEIPT_VERSION_UNKNOWN: 'the receipt is of another version of the format',
  RECEIPT_NOT_CANONICAL: 'the file is not in the one form that a receipt has',
  ORIGIN_UNTRUSTED: 'the receipt is of another log than the trusted one',
  LEAF_MALFORMED: 'an entry of the receipt could not be read',
  EXCHANGE_MISMATCHED: 'the entries are not about the exchange that the receipt names',
  KINDS_DISORDERED: 'the entries do not make one closed exchange',
  PROOF_MALFORMED: 'a proof of the receipt could not be read',
  CHECKPOINTS_DIFFERENT: 'the proofs lead to different checkpoints',
  CHECKPOINT_REJECTED: 'the checkpoint is not signed by the trusted log',
  INCLUSION_REJECTED: 'an entry is not in the log at the index that the receipt states',
  FACT_UNKNOWN: 'a disclosed fact is not one that its entry commits to',
  FACT_REJECTED: 'a disclosed fact is not what was committed to',
  FACT_WITHHELD: 'the receipt withholds a fact that decides its meaning',
  FACT_MISSING: 'an entry lacks a fact that entries of its kind have',
  VALUE_UNKNOWN: 'a fact has a value that is not one of those it can have',
  PRODUCER_CONTRADICTED: 'who recorded the exchange does not agree with what is recorded',
  STATEMENT_REJECTED:
    'the agent of a connector did not state an entry that names it as its producer',
  FACT_MISPLACED: 'a fact about one half of the exchange stands in the other half',
  FACT_MISTYPED: 'a fact does not have the type that its name demands',
  ATTESTATION_CONTRADICTED: 'who attested a half does not agree with the signatures present',
  REQUEST_SIGNATURE_REJECTED: 'the signature of the request is wrong',
  REQUEST_CONTRADICTED: 'the caller signed another request than the one on record',
  RESPONSE_SIGNATURE_REJECTED: 'the countersignature of the response is wrong',
  COUNTERSIGNATURE_UNLINKED: 'the countersignature does not cover the signature of the request',
  DIGEST_MISMATCHED: 'a signature covers other content than the ledger recorded',
} as const

export type ReceiptFault = keyof typeof RECEIPT_FAULTS

/** The receipt must not be relied on. The message is the fixed sentence of the code. */
export class ReceiptError extends Error {
  override readonly name = 'ReceiptError'
  readonly code: ReceiptFault
  /** The part that failed, for a person who investigates; empty when the code is sufficient. */
  readonly detail: string

  constructor(code: ReceiptFault, detail = '') {
    super(RECEIPT_FAULTS[code])
    this.code = code
    this.detail = detail
  }
}
