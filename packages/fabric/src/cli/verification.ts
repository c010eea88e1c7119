import {
  type Attestation,
  attributedFacts,
  describeAttestation,
  describeEnding,
  describeLevel,
  describeMatch,
  describeRecorder,
  describeSource,
  type Half,
  isMatch,
  legible,
  type MessageMatch,
  quotedUnlessWord,
  ReceiptError,
  type ReceiptFault,
  sourceOf,
  type Trust,
  type VerifiedReceipt,
  verifyReceipt,
} from '@countersign/protocol'
import { styleOfResult } from './entry-view.ts'
import type { ComparedLevel } from './log-comparison.ts'
import type { Style } from './output/paint.ts'
import { formatTime } from './output/quantities.ts'
import type { Cell } from './output/table.ts'
import type { Terminal } from './output/terminal.ts'

/** The checks of a verification, in their order, with the faults that end it at each step. */
const STEPS = [
  {
    says: 'the file has the one form of a receipt',
    faults: ['RECEIPT_MALFORMED', 'RECEIPT_VERSION_UNKNOWN', 'RECEIPT_NOT_CANONICAL'],
  },
  { says: 'it gives the name of the log that is trusted', faults: ['ORIGIN_UNTRUSTED'] },
  {
    says: 'its entries and proofs can be read',
    faults: ['LEAF_MALFORMED', 'PROOF_MALFORMED'],
  },
  { says: 'they make one closed exchange', faults: ['EXCHANGE_MISMATCHED', 'KINDS_DISORDERED'] },
  { says: 'they lead to one checkpoint', faults: ['CHECKPOINTS_DIFFERENT'] },
  { says: 'every entry is in the log', faults: ['INCLUSION_REJECTED'] },
  {
    says: 'every disclosed fact is what was committed to',
    faults: ['FACT_UNKNOWN', 'FACT_REJECTED'],
  },
  {
    says: 'the key of the trusted log signed the checkpoint, and so every entry',
    faults: ['CHECKPOINT_REJECTED'],
  },
  {
    says: 'no fact that decides its meaning is withheld, missing or unknown',
    faults: ['FACT_WITHHELD', 'FACT_MISSING', 'VALUE_UNKNOWN', 'PRODUCER_CONTRADICTED'],
  },
  {
    says: 'the agent of each connector signed the entries that name it as their producer',
    faults: ['STATEMENT_REJECTED'],
  },
  {
    says: 'whatever caller and callee signed holds, and belongs together',
    faults: [
      'FACT_MISPLACED',
      'FACT_MISTYPED',
      'ATTESTATION_CONTRADICTED',
      'REQUEST_SIGNATURE_REJECTED',
      'RESPONSE_SIGNATURE_REJECTED',
      'COUNTERSIGNATURE_UNLINKED',
      'REQUEST_CONTRADICTED',
      'DIGEST_MISMATCHED',
    ],
  },
] as const satisfies readonly { readonly says: string; readonly faults: readonly ReceiptFault[] }[]

/** A fault without a step does not compile. */
const stepOfFault: Readonly<Record<ReceiptFault, (typeof STEPS)[number]['says']>> =
  Object.fromEntries(
    STEPS.flatMap(({ says, faults }) => faults.map((fault) => [fault, says] as const)),
  ) as Record<(typeof STEPS)[number]['faults'][number], (typeof STEPS)[number]['says']>

export interface Verification {
  /** Null when anything is wrong. */
  readonly verified: VerifiedReceipt | null
  readonly failure: {
    readonly code: ReceiptFault
    readonly says: string
    readonly detail: string
  } | null
  /** `passed` only for what certainly was checked. */
  readonly steps: readonly {
    readonly says: string
    readonly outcome: 'passed' | 'failed' | 'not reached'
  }[]
}

export async function verifyInSteps(bytes: Uint8Array, trust: Trust): Promise<Verification> {
  try {
    const verified = await verifyReceipt(bytes, trust)
    const steps = STEPS.map(({ says }) => ({ says, outcome: 'passed' as const }))
    return { verified, failure: null, steps }
  } catch (error) {
    if (!(error instanceof ReceiptError)) throw error
    const { code, message, detail } = error
    const failed = failedStep(error)
    const steps = STEPS.map(
      ({ says }, i) =>
        ({
          says,
          outcome: i < failed ? 'passed' : i === failed ? 'failed' : 'not reached',
        }) as const,
    )
    return { verified: null, failure: { code, says: message, detail }, steps }
  }
}

function failedStep({ code, detail }: ReceiptError): number {
  // A checkpoint with more than one signature fails before inclusion is looked at; only the later
  // failure, of the signature itself, comes without detail.
  const early = code === 'CHECKPOINT_REJECTED' && detail !== ''
  const says = stepOfFault[early ? 'CHECKPOINTS_DIFFERENT' : code]
  return STEPS.findIndex((step) => step.says === says)
}

const marks = { passed: '✓', failed: '✗', 'not reached': '·' } as const
const styles = { passed: 'green', failed: 'red', 'not reached': 'dim' } as const

/** Other facts that are shown with a verification. */
export interface VerificationContext {
  readonly trustFingerprint: string
  /** Messages that were compared with a receipt that verified. */
  readonly matches: readonly { readonly half: Half; readonly match: MessageMatch }[]
  /** Null where no log was given to compare the receipt with. */
  readonly published: ComparedLevel | null
}

/**
 * The result, and the party that vouches for it, come first; the steps are for the reader who wants
 * the details.
 */
export function formatVerification(
  verification: Verification,
  context: VerificationContext,
  terminal: Terminal,
): string {
  const { paint } = terminal
  const { verified, failure, steps } = verification
  const lines = steps.map(({ says, outcome }) => {
    const text = outcome === 'not reached' ? paint('dim', `${says} (not reached)`) : says
    return `${paint(styles[outcome], marks[outcome])} ${text}`
  })
  if (verified !== null) {
    const differs = context.matches.some(({ match }) => !isMatch(match))
    const { published } = context
    const isElsewhere = published !== null && !isPublished(published)
    const doubts = [
      ...(differs ? ['not of the message that was given'] : []),
      ...(isElsewhere ? ['not in the log that was given'] : []),
    ]
    const verdict =
      doubts.length > 0
        ? `${paint('green', 'verified')}, but ${paint('red', doubts.join(', and '))}`
        : paint('green', 'verified')
    return `${formatReceipt(verified, context, terminal)}\n\n${lines.join('\n')}\n\n${verdict}`
  }
  const detail = failure === null || failure.detail === '' ? '' : ` (${legible(failure.detail)})`
  const verdict = `${paint('red', 'not verified')}: ${failure?.code}: ${failure?.says}${detail}`
  const trust = terminal.facts([['trust', context.trustFingerprint]])
  const hint = failure !== null && ofOtherFabric.has(failure.code) ? `\n${otherFabric}` : ''
  return `${verdict}\n\n${lines.join('\n')}\n\n${trust}${hint}`
}

/** The faults that occur if the trust is that of another fabric; its name alone may be the same. */
const ofOtherFabric: ReadonlySet<ReceiptFault> = new Set([
  'ORIGIN_UNTRUSTED',
  'CHECKPOINT_REJECTED',
])
const otherFabric =
  'next: compare this fingerprint with the one that the fabric of the receipt prints; they may be two fabrics'

function formatReceipt(
  receipt: VerifiedReceipt,
  { trustFingerprint, matches, published }: VerificationContext,
  terminal: Terminal,
): string {
  const style = styleOfResult(receipt.ending.code ?? receipt.ending.result)
  return terminal.paragraphs([
    ['ended', { text: describeEnding(receipt.ending, receipt), style }],
    ['request', describeAttestation(receipt.request, 'request')],
    ['response', describeAttestation(receipt.response, 'response')],
    ['recorded by', describeRecorder(receipt)],
    ...matches.map(
      ({ half, match }) =>
        [
          `${half} file`,
          {
            text: describeMatch(match, half, receipt[half]),
            style: styleOfMatch(match, half, receipt),
          },
        ] as const,
    ),
    ['caller', attributed(receipt, 'caller', '(not authenticated)')],
    ...(receipt.user === null
      ? []
      : [['on behalf of', attributed(receipt, 'caller.user')] as const]),
    ['receiver', attributed(receipt, 'receiver')],
    ['operation', attributed(receipt, 'operation')],
    ...(toolOf(receipt) === '' ? [] : [['tool', attributed(receipt, 'tool')] as const]),
    ...(receipt.object === null
      ? []
      : [['object', { phrase: quotedUnlessWord(receipt.object) }] as const]),
    ...(receipt.approval === null ? [] : [['approval', approvalOf(receipt.approval)] as const]),
    ...(receipt.reason === null
      ? []
      : [['reason', { phrase: quotedUnlessWord(receipt.reason) }] as const]),
    ['recorded', `${formatTime(receipt.at)} to ${formatTime(receipt.closedAt)}`],
    ...signedLines(receipt.request, 'request key'),
    ...signedLines(receipt.response, 'response key'),
    ['exchange', receipt.exchange],
    ['in the log', `${placeOf(receipt)}, ${receipt.origin}`],
    ['level', describeLevel(receipt.level)],
    ...(published === null ? [] : [['compared', comparedCell(published)] as const]),
    ['trust', trustFingerprint],
    ...sourceLines(receipt),
    ['withheld', withheldOf(receipt)],
  ])
}

/** Reports whether the published checkpoint covers all that the receipt shows. */
export function isPublished({ relation }: ComparedLevel): boolean {
  return relation === 'same' || relation === 'grown'
}

function comparedCell({ relation, size }: ComparedLevel): Cell {
  const words = {
    same: 'the published checkpoint is that of the receipt',
    grown: `the published checkpoint has ${size} entries, and those of the receipt, as a consistency proof shows`,
    behind: `the log shows ${size} entries, fewer than the receipt: ask again after a minute, then keep both as evidence`,
    forked: 'the log signed two histories: keep both as evidence',
  }
  const isFine = relation === 'same' || relation === 'grown'
  return { text: words[relation], style: isFine ? 'green' : 'red' }
}

function toolOf({ entries: [opening] }: VerifiedReceipt): string {
  return String(opening?.facts['tool'] ?? '')
}

/** A fact of the opening entry, with whose word it is. */
function attributed(receipt: VerifiedReceipt, name: string, otherwise = '-'): Cell {
  const value = receipt.entries[0]?.facts[name]
  if (value === undefined) return otherwise
  const source = describeSource(sourceOf(receipt, 0, name))
  return { phrase: `${quotedUnlessWord(String(value))}, ${source}` }
}

/**
 * Lists the facts by the party that vouches for them, for the reader who asks what a signature is
 * worth.
 */
function sourceLines(receipt: VerifiedReceipt): readonly (readonly [string, string])[] {
  const names = new Map<string, Set<string>>()
  for (const { name, source } of attributedFacts(receipt)) {
    const says = describeSource(source)
    names.set(says, (names.get(says) ?? new Set()).add(name))
  }
  return [...names].map(([says, facts]) => [says, [...facts].join(', ')])
}

/**
 * Green if a party signed the message that was compared; a connector's word alone does not prove
 * anything about its caller.
 */
function styleOfMatch(match: MessageMatch, half: Half, receipt: VerifiedReceipt): Style {
  if (!isMatch(match)) return 'red'
  const isTold = receipt[half].producer !== null
  return isTold && (match === 'forwarded' || receipt[half].signature === null) ? 'yellow' : 'green'
}

function withheldOf({ entries }: VerifiedReceipt): string {
  const names = entries.flatMap(({ withheld }) => withheld)
  return names.length === 0 ? 'nothing' : [...new Set(names)].join(', ')
}

function signedLines(
  { signature }: Attestation,
  name: string,
): readonly (readonly [string, string])[] {
  if (signature === null) return []
  return [[name, `${signature.keyId}, at ${formatTime(signature.created * 1000)}`]]
}

function approvalOf({ id, approver }: NonNullable<VerifiedReceipt['approval']>): Cell {
  return { phrase: approver === null ? id : `${id} by ${quotedUnlessWord(approver)}` }
}

function placeOf({ entries, checkpointSize }: VerifiedReceipt): string {
  const indexes = entries.map(({ index }) => index).join(' and ')
  return `${entries.length === 1 ? 'entry' : 'entries'} ${indexes} of ${checkpointSize}`
}
