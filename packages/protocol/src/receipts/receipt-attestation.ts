import { equalBytes } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import type { FactValue } from '../log/leaf.ts'
import { verifyMessage } from '../log/message-batch.ts'
import { digestOfNothing, parseContentDigest } from '../signatures/content-digest.ts'
import {
  requestSignatureTag,
  responseSignatureTag,
  type SignedMessage,
} from '../signatures/http-signature.ts'
import {
  isSignatureLength,
  type ParsedSignatureBase,
  parseSignatureBase,
  readSignatureBase,
} from '../signatures/http-signature-base.ts'
import { isInnerList, parseDictionary } from '../signatures/http-signature-fields.ts'
import type { Hash, VerifySignature } from '../signatures/web-crypto.ts'
import { askedFault } from './receipt-asked.ts'
import { ATTESTORS, type Attestor, type ClaimedEntry, checkEntryClaims } from './receipt-claims.ts'
import { ReceiptError } from './receipt-error.ts'

export type Half = 'request' | 'response'

export type Facts = Readonly<Record<string, FactValue>>

/** The party that attests one half of the exchange with a signature of its own. */
export interface Attestation {
  /**
   * `fabric` and `connector` attest on their own word, without a signature of the party. Null when
   * the half never came to be.
   */
  readonly by: Attestor | null
  /** SPIFFE ID of the agent whose connector recorded this half; null when the fabric did. */
  readonly producer: string | null
  /** Of the message signature that was verified; null when there is none. */
  readonly signature: {
    readonly keyId: string
    /** Unix seconds, as the signer claims. */
    readonly created: number
    readonly publicKey: Uint8Array
    /** Component identifiers with the values that were signed. */
    readonly covered: ReadonlyMap<string, string>
  } | null
}

export interface Attestations {
  readonly request: Attestation
  readonly response: Attestation
}

export interface HalfContext {
  /** Of the fabric. */
  readonly trustDomain: string
  /** The signature that the facts hold, if the recorder has read its fields. */
  readonly made?: SignedMessage
}

/** The signature over one half of an exchange, as an entry holds it. */
export interface SignedHalf {
  readonly signature: Uint8Array
  readonly base: string
  readonly parsed: ParsedSignatureBase
  readonly key: Uint8Array
}

const tagOf = { request: requestSignatureTag, response: responseSignatureTag } as const
const partyOf = { request: 'caller', response: 'callee' } as const
const rejectedCode = {
  request: 'REQUEST_SIGNATURE_REJECTED',
  response: 'RESPONSE_SIGNATURE_REJECTED',
} as const

/** The context in which one entry is judged. */
export interface EntryContext {
  readonly exchange: string
  readonly trustDomain: string
  readonly fabricKey: Uint8Array
  /** The caller's signature in the intent that the entry closes; null where there is none. */
  readonly requestSignature: Uint8Array | null
  /** WebCrypto unless given, so that receipts verify in browsers. */
  readonly verify?: VerifySignature
  readonly hash?: Hash
}

export interface AttestedEntry extends Attestations {
  /**
   * Of the request, as the entry holds it and as it has been verified; null where there is none.
   */
  readonly asked: SignedHalf | null
  /** The caller's signature, which a countersignature has to cover. */
  readonly requestSignature: Uint8Array | null
}

/**
 * Judges one entry by its facts alone: what it claims, the signatures that it holds, and that they
 * agree with the recorded names of who attested what. This one function decides what the fabric
 * records on a connector's word and what every verifier accepts, so that nothing is on record that
 * ruins the receipt of the other end. Throws a ReceiptError.
 */
export async function verifyEntry(
  entry: ClaimedEntry,
  context: EntryContext,
): Promise<AttestedEntry> {
  const { kind, facts } = entry
  const { fabricKey, trustDomain } = context
  checkEntryClaims(entry, trustDomain)
  if (kind === 'intent') checkPlace(facts, 'response')
  if (kind === 'outcome' || kind === 'indeterminate') checkPlace(facts, 'request')
  const asked = await verifyHalf(facts, 'request', context)
  const answered = await verifyHalf(facts, 'response', context)
  const forwarded = await verifyForwarded(facts, context)
  const requestSignature = asked?.signature ?? context.requestSignature
  // The caller's own signature, where there is one, is the only link that will do: the fabric
  // could forward the same request twice.
  if (answered !== null) checkLinked(answered, requestSignature ?? forwarded)
  return {
    asked,
    request: attestation(facts, 'request', { signed: asked, fabricKey }),
    response: attestation(facts, 'response', { signed: answered, fabricKey }),
    requestSignature,
  }
}

function checkPlace(facts: Facts, foreign: Half): void {
  const parts = [`attested.${foreign}`, ...['signature', 'signature-base', 'key'].map(partName)]
  function partName(part: string): string {
    return `${foreign}.${part}`
  }
  for (const name of parts) {
    if (Object.hasOwn(facts, name)) throw new ReceiptError('FACT_MISPLACED', name)
  }
}

async function verifyHalf(
  facts: Facts,
  half: Half,
  context: EntryContext,
): Promise<SignedHalf | null> {
  const signed = readSignedHalf(facts, half, context)
  if (signed === null) return null
  const isMade = await verifyMessage(
    signed.key,
    { ...signed, alg: signed.parsed.params.alg },
    context,
  )
  if (!isMade) throw new ReceiptError(rejectedCode[half])
  return signed
}

/**
 * Reads and checks the signature of an entry over one half, except the signature value itself;
 * returns null if the entry holds none. Takes only a few microseconds, so that the recorder of an
 * entry can call it before anything is delivered. Throws a ReceiptError.
 */
export function readSignedHalf(
  facts: Facts,
  half: Half,
  { trustDomain, made }: HalfContext,
): SignedHalf | null {
  const signature = readSignature(facts, half)
  const key = readBytesFact(facts, `${half}.key`, 32)
  const base = readTextFact(facts, `${half}.signature-base`)
  if (signature === null && base === null && key === null) return null
  // Parts of a signature prove nothing, and look as if they did.
  if (signature === null || base === null || key === null) {
    throw new ReceiptError(rejectedCode[half], 'a part of the signature is withheld')
  }
  const parsed = parseBase(half, made === undefined ? base : made)
  const { tag, alg } = parsed.params
  if (!isSignatureLength(alg, signature.length)) {
    throw new ReceiptError(rejectedCode[half], `not a signature by ${alg}`)
  }
  // A signature for another purpose does not attest this half.
  if (tag !== null && tag !== tagOf[half]) {
    throw new ReceiptError(rejectedCode[half], `it is tagged ${tag}`)
  }
  checkDigest(facts, half, parsed)
  if (half === 'request') checkAsked(parsed, facts, trustDomain)
  else checkStatus(facts, parsed)
  return { signature, base, parsed, key }
}

function parseBase(half: Half, base: string | SignedMessage): ParsedSignatureBase {
  try {
    if (typeof base === 'string') return parseSignatureBase(base)
    return readSignatureBase({ ...base, params: base })
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw new ReceiptError(rejectedCode[half], error.message)
  }
}

/** The status on record is the one that the callee signed. */
function checkStatus({ status }: Facts, base: ParsedSignatureBase): void {
  const signed = base.values.get('"@status"')
  if (signed === undefined || status === undefined || status === Number(signed)) return
  throw new ReceiptError('RESPONSE_SIGNATURE_REJECTED', `it is over the status ${signed}`)
}

/**
 * Checks that the request in the entry is the one that the caller signed, as far as a signature
 * covers it.
 */
function checkAsked(base: ParsedSignatureBase, facts: Facts, trustDomain: string): void {
  const said = (name: string): string => readTextFact(facts, name) ?? ''
  const fault = askedFault(base.values, {
    transport: said('transport'),
    protocol: said('protocol'),
    operation: said('operation'),
    receiver: said('receiver'),
    trustDomain,
  })
  if (fault !== null) throw new ReceiptError('REQUEST_CONTRADICTED', fault)
}

/**
 * Checks that the content that was signed is the content that the ledger recorded. Unsigned content
 * means empty content.
 */
function checkDigest(facts: Facts, half: Half, base: ParsedSignatureBase): void {
  const recorded = readBytesFact(facts, `${half}.digest`, 32)
  const field = base.values.get('"content-digest"')
  if (field === undefined) {
    if (recorded === null || equalBytes(recorded, digestOfNothing)) return
    throw new ReceiptError('DIGEST_MISMATCHED', `the ${half} was signed without it`)
  }
  let signed: Uint8Array
  try {
    signed = parseContentDigest(field)
  } catch {
    throw new ReceiptError('DIGEST_MISMATCHED', `the ${half} covers a malformed digest`)
  }
  if (recorded === null || !equalBytes(recorded, signed)) {
    throw new ReceiptError('DIGEST_MISMATCHED', `the ${half} covers another digest`)
  }
}

/**
 * The signature that a hop put on the request when it forwarded it, or null when none is on record.
 * It names the exchange, so that an answer which covers it is an answer within this exchange.
 */
async function verifyForwarded(facts: Facts, given: EntryContext): Promise<Uint8Array | null> {
  const signature = readBytesFact(facts, 'forwarded.signature', 64)
  const base = readTextFact(facts, 'forwarded.signature-base')
  if (signature === null && base === null) return null
  const key = readBytesFact(facts, 'forwarded.key', 32) ?? given.fabricKey
  const { values, params } = parseBase('request', base ?? '')
  const named = values.get('"countersign-exchange"') === given.exchange
  const signed = { alg: params.alg, signature: signature ?? new Uint8Array(0), base: base ?? '' }
  if (signature === null || !named || !(await verifyMessage(key, signed, given))) {
    throw new ReceiptError('REQUEST_SIGNATURE_REJECTED', 'as it was forwarded')
  }
  return signature
}

/** Without this link an answer to one question could be shown as the answer to another. */
export function checkLinked(response: SignedHalf, request: Uint8Array | null): void {
  const linked =
    request !== null &&
    coveredSignatures(response.parsed).some((covered) => equalBytes(covered, request))
  if (!linked) throw new ReceiptError('COUNTERSIGNATURE_UNLINKED')
}

const signatureOfRequest = '"signature";req'

function coveredSignatures(base: ParsedSignatureBase): readonly Uint8Array[] {
  const whole = base.values.get(signatureOfRequest)
  const fields = [...base.values]
    .filter(([id]) => id.startsWith(`${signatureOfRequest};key=`))
    .map(([, value]) => `one=${value}`)
  if (whole !== undefined) fields.push(whole)
  try {
    return fields.flatMap((field) =>
      [...parseDictionary(field).values()].flatMap((member) =>
        !isInnerList(member) && member.value instanceof Uint8Array ? [member.value] : [],
      ),
    )
  } catch {
    return []
  }
}

interface Signers {
  readonly signed: SignedHalf | null
  readonly fabricKey: Uint8Array
}

/**
 * A party attested exactly when a key other than the fabric's signed. The fabric cannot pass its
 * own signature off as the party's, or omit the party's from its claim.
 */
function attestation(facts: Facts, half: Half, { signed, fabricKey }: Signers): Attestation {
  const party = partyOf[half]
  const by = readTextFact(facts, `attested.${half}`)
  if (!isAttestor(by, half)) throw new ReceiptError('VALUE_UNKNOWN', `attested.${half}`)
  const signedByParty = signed !== null && !equalBytes(signed.key, fabricKey)
  if ((by === party) !== signedByParty || (signed !== null && by === null)) {
    throw new ReceiptError('ATTESTATION_CONTRADICTED', `attested.${half}`)
  }
  const producer = readTextFact(facts, 'producer')
  if (signed === null) return { by, producer: by === null ? null : producer, signature: null }
  const { keyId, created } = signed.parsed.params
  const covered = signed.parsed.values
  return { by, producer, signature: { keyId, created, publicKey: signed.key, covered } }
}

function isAttestor(value: string | null, half: Half): value is Attestor | null {
  return value === null || ATTESTORS[half].some((known) => known === value)
}

function readSignature(facts: Facts, half: Half): Uint8Array | null {
  const name = `${half}.signature`
  const value = facts[name]
  if (value === undefined || value instanceof Uint8Array) return value ?? null
  throw new ReceiptError('FACT_MISTYPED', name)
}

function readBytesFact(facts: Facts, name: string, length: number): Uint8Array | null {
  const value = facts[name]
  if (value === undefined) return null
  if (!(value instanceof Uint8Array) || value.length !== length) {
    throw new ReceiptError('FACT_MISTYPED', name)
  }
  return value
}

/** The text of a fact, or null when it was not disclosed. Throws a ReceiptError on another type. */
export function readTextFact(facts: Facts, name: string): string | null {
  const value = facts[name]
  if (value === undefined) return null
  if (typeof value !== 'string') throw new ReceiptError('FACT_MISTYPED', name)
  return value
}
