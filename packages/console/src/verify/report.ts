import {
  type Attestation,
  attributedFacts,
  describeAttestation,
  describeEnding,
  describeLevel,
  describeMatch,
  describeRecorder,
  describeSource,
  type FactValue,
  FormerFormatError,
  type Half,
  isMatch,
  legibleLines,
  legibleValue,
  type MessageMatch,
  quotedUnlessWord,
  type ReceiptError,
  type ReceiptFault,
  sourceOf,
  type VerifiedReceipt,
} from '@countersign/protocol'
import { formatUtc } from '../times.ts'

/** The result of a verification, in sentences; the page only lays it out. */
export interface Report {
  readonly verified: boolean
  readonly title: string
  readonly sentence: string
  readonly checks: readonly Check[]
  readonly sections: readonly Section[]
}

export interface Check {
  readonly name: string
  readonly state: 'passed' | 'failed' | 'void'
}

export interface Section {
  readonly title: string
  readonly lines: readonly Line[]
}

export interface Line {
  readonly label: string
  readonly value: string
}

const CHECKS = {
  form: 'The file is a receipt in its one form',
  fabric: 'The entries are of a log of the trusted fabric, about one closed exchange',
  log: 'Every entry is in the log, under a checkpoint that the log signed',
  facts: 'Every disclosed fact is the one that was committed to',
  claims: 'No fact that decides its meaning is withheld, missing or unknown',
  stated: 'The agent of each connector signed the entries that name it as their producer',
  parties: 'The signatures of caller and receiver are theirs, and belong together',
} as const
type CheckName = keyof typeof CHECKS

const CHECK_OF: Readonly<Record<ReceiptFault, CheckName>> = {
  RECEIPT_MALFORMED: 'form',
  RECEIPT_VERSION_UNKNOWN: 'form',
  RECEIPT_NOT_CANONICAL: 'form',
  ORIGIN_UNTRUSTED: 'fabric',
  LEAF_MALFORMED: 'fabric',
  EXCHANGE_MISMATCHED: 'fabric',
  KINDS_DISORDERED: 'fabric',
  PROOF_MALFORMED: 'log',
  CHECKPOINTS_DIFFERENT: 'log',
  CHECKPOINT_REJECTED: 'log',
  INCLUSION_REJECTED: 'log',
  FACT_UNKNOWN: 'facts',
  FACT_REJECTED: 'facts',
  FACT_WITHHELD: 'claims',
  FACT_MISSING: 'claims',
  VALUE_UNKNOWN: 'claims',
  PRODUCER_CONTRADICTED: 'claims',
  STATEMENT_REJECTED: 'stated',
  FACT_MISPLACED: 'parties',
  FACT_MISTYPED: 'parties',
  ATTESTATION_CONTRADICTED: 'parties',
  REQUEST_SIGNATURE_REJECTED: 'parties',
  RESPONSE_SIGNATURE_REJECTED: 'parties',
  COUNTERSIGNATURE_UNLINKED: 'parties',
  REQUEST_CONTRADICTED: 'parties',
  DIGEST_MISMATCHED: 'parties',
}

/** Messages that were compared with a receipt that verified. */
export type Matches = readonly { readonly half: Half; readonly match: MessageMatch }[]

export function reportVerified(receipt: VerifiedReceipt, matches: Matches = []): Report {
  return {
    verified: matches.every(({ match }) => isMatch(match)),
    title: titleOf(receipt, matches),
    sentence: `Ended: ${describeEnding(receipt.ending, receipt)}. ${summary(receipt)}`,
    checks: Object.values(CHECKS).map((name) => ({ name, state: 'passed' })),
    sections: [
      attestationSection(receipt, matches),
      exchangeSection(receipt),
      logSection(receipt),
    ].concat(receipt.entries.flatMap((_, entry) => factSections(receipt, entry))),
  }
}

/** Nothing is claimed of the other checks: one failure makes the whole receipt worthless. */
export function reportFault(fault: ReceiptError): Report {
  const failed = CHECK_OF[fault.code]
  const lines: Line[] = [{ label: 'Code', value: fault.code }]
  if (fault.detail !== '') lines.push({ label: 'Detail', value: legibleValue(fault.detail) })
  return {
    verified: false,
    title: 'Not verified',
    sentence: `Do not rely on this receipt: ${fault.message}.`,
    checks: Object.entries(CHECKS).map(([key, name]) => ({
      name,
      state: key === failed ? 'failed' : 'void',
    })),
    sections: [{ title: 'What failed', lines }],
  }
}

/** The files could not even be read, or this browser cannot decide. */
export function reportUnreadable(sentence: string): Report {
  return { verified: false, title: 'Not verified', sentence, checks: [], sections: [] }
}

/** Nothing was checked: `cause` is what the parser of the trust file threw. */
export function reportUntrusted(cause: unknown): Report {
  const why = cause instanceof FormerFormatError ? `: ${cause.message}` : ''
  return reportUnreadable(
    `The trust file could not be read, so nothing can be checked against it${why}.`,
  )
}

function titleOf(receipt: VerifiedReceipt, matches: Matches): string {
  if (!matches.every(({ match }) => isMatch(match))) return 'Verified, but not of this message'
  const isCountersigned = receipt.request.by === 'caller' && receipt.response.by === 'callee'
  return isCountersigned ? 'Verified and countersigned' : 'Verified'
}

function summary(receipt: VerifiedReceipt): string {
  const caller = wordOr(receipt.caller, 'An unauthenticated client')
  const receiver = wordOr(receipt.receiver, 'an unnamed receiver')
  const operation = wordOr(receipt.operation, 'a message')
  const producer = receipt.entries[0]?.producer ?? null
  const source = producer === null ? '' : `, according to the connector of ${visible(producer)}`
  return `${caller} asked ${receiver} for ${operation} on ${formatUtc(receipt.at)}${source}.`
}

function exchangeSection(receipt: VerifiedReceipt): Section {
  const lines = [
    { label: 'Caller', value: attributed(receipt, 'caller') },
    ...(receipt.user === null
      ? []
      : [{ label: 'On behalf of', value: attributed(receipt, 'caller.user') }]),
    { label: 'Receiver', value: attributed(receipt, 'receiver') },
    { label: 'Operation', value: attributed(receipt, 'operation') },
    ...(hasTool(receipt) ? [{ label: 'Tool', value: attributed(receipt, 'tool') }] : []),
    ...(receipt.object === null ? [] : [{ label: 'Object', value: visible(receipt.object) }]),
    ...(receipt.approval === null
      ? []
      : [{ label: 'Approval', value: approvalOf(receipt.approval) }]),
    ...(receipt.reason === null ? [] : [{ label: 'Reason', value: visible(receipt.reason) }]),
    { label: 'Began', value: formatUtc(receipt.at) },
    { label: 'Closed', value: formatUtc(receipt.closedAt) },
    { label: 'Exchange', value: receipt.exchange },
  ]
  return { title: 'The exchange', lines }
}

function approvalOf({ id, approver }: NonNullable<VerifiedReceipt['approval']>): string {
  return approver === null ? visible(id) : `${visible(id)} by ${visible(approver)}`
}

function attestationSection(receipt: VerifiedReceipt, matches: Matches): Section {
  return {
    title: 'Who stands behind it',
    lines: [
      { label: 'Request', value: sentence(describeAttestation(receipt.request, 'request')) },
      { label: 'Response', value: sentence(describeAttestation(receipt.response, 'response')) },
      { label: 'Recorded by', value: sentence(describeRecorder(receipt)) },
      ...matches.map(({ half, match }) => ({
        label: half === 'request' ? 'Request file' : 'Response file',
        value: sentence(describeMatch(match, half, receipt[half])),
      })),
      ...signedLines(receipt.request, 'Request'),
      ...signedLines(receipt.response, 'Response'),
    ],
  }
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1)
}

function signedLines({ signature }: Attestation, half: string): readonly Line[] {
  if (signature === null) return []
  return [
    { label: `${half} key`, value: visible(signature.keyId) },
    { label: `${half} signed`, value: formatUtc(signature.created * 1000) },
    { label: `${half} covers`, value: [...signature.covered.keys()].join(' ') },
  ]
}

function logSection(receipt: VerifiedReceipt): Section {
  const positions = receipt.entries.map(({ kind, index }) => `${kind} at ${index}`)
  return {
    title: 'The log',
    lines: [
      { label: 'Log', value: visible(receipt.origin) },
      { label: 'Trust domain', value: receipt.trustDomain },
      { label: 'Entries', value: positions.join(', ') },
      { label: 'Checkpoint', value: `${receipt.checkpointSize} entries` },
      { label: 'Level', value: describeLevel(receipt.level) },
      { label: 'Facts', value: `${receipt.factsOpened} opened, ${receipt.factsWithheld} withheld` },
    ],
  }
}

/** The facts of one entry, a section for each whose word they are. */
function factSections(receipt: VerifiedReceipt, at: number): readonly Section[] {
  const entry = receipt.entries[at]
  if (entry === undefined) return []
  const lines = new Map<string, Line[]>()
  for (const { entry: of, name, source } of attributedFacts(receipt)) {
    if (of !== at) continue
    const says = describeSource(source)
    const known = lines.get(says) ?? []
    lines.set(says, [...known, { label: name, value: factText(entry.facts[name] ?? '') }])
  }
  const closed = entry.withheld.map((label) => ({ label, value: '(withheld)' }))
  if (closed.length > 0) lines.set('withheld', closed)
  return [...lines].map(([says, found]) => ({
    title: `Facts of the ${entry.kind}, ${says}`,
    lines: found,
  }))
}

function hasTool({ entries: [opening] }: VerifiedReceipt): boolean {
  return (opening?.facts['tool'] ?? '') !== ''
}

/** A fact of the opening entry, with whose word it is. */
function attributed(receipt: VerifiedReceipt, name: string): string {
  const value = receipt.entries[0]?.facts[name]
  if (value === undefined) return disclosed(null)
  return `${visible(String(value))}, ${describeSource(sourceOf(receipt, 0, name))}`
}

function factText(value: FactValue): string {
  if (!(value instanceof Uint8Array)) return legibleLines(String(value))
  return Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function disclosed(text: string | null): string {
  return text === null ? '(not disclosed)' : visible(text)
}

function wordOr(text: string | null, otherwise: string): string {
  return text === null ? otherwise : visible(text)
}

/** A value in a sentence or a list: quoted unless it is a word, so that none passes for ours. */
function visible(text: string): string {
  return quotedUnlessWord(text)
}
