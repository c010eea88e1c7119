import { equalBytes, utf8 } from './bytes.ts'
import { parseContentDigest } from './content-digest.ts'
import { type ParsedSignatureBase, parseSignatureBase } from './http-signature-base.ts'
import { isInnerList, parseDictionary } from './http-signature-fields.ts'
import { MalformedError } from './malformed-error.ts'
import { ATTESTORS, type Attestor } from './receipt-claims.ts'
import { ReceiptError } from './receipt-error.ts'
import type { FactValue } from './statement.ts'
import { sha256, verifyEd25519 } from './web-crypto.ts'

export type Half = 'request' | 'response'

export type Facts = Readonly<Record<string, FactValue>>

/** Who stands behind one half of the exchange with a signature of their own. */
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

interface SignedHalf {
  readonly signature: Uint8Array
  readonly base: string
  readonly parsed: ParsedSignatureBase
  readonly key: Uint8Array
}

const partyOf = { request: 'caller', response: 'callee' } as const
const rejectedCode = {
  request: 'REQUEST_SIGNATURE_REJECTED',
  response: 'RESPONSE_SIGNATURE_REJECTED',
} as const

/** What the signatures of the parties are judged by. */
export interface AttestedExchange {
  readonly exchange: string
  /** Facts of the first entry, and of the last; the same object when there is one entry. */
  readonly request: Facts
  readonly response: Facts
  readonly fabricKey: Uint8Array
}

/**
 * Verifies the message signatures that the facts hold, both against each other and against who is
 * said to have attested what. Throws a ReceiptError.
 */
export async function verifyAttestations(given: AttestedExchange): Promise<Attestations> {
  const { request, response, fabricKey } = given
  if (request !== response) {
    checkPlace(request, 'response')
    checkPlace(response, 'request')
  }
  const asked = await verifyHalf(request, 'request')
  const answered = await verifyHalf(response, 'response')
  const forwarded = await verifyForwarded(given)
  // The caller's own signature, where there is one, is the only link that will do: the fabric
  // could forward the same request twice.
  if (answered !== null) checkLinked(answered, asked?.signature ?? forwarded)
  return {
    request: attestation(request, 'request', { signed: asked, fabricKey }),
    response: attestation(response, 'response', { signed: answered, fabricKey }),
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

async function verifyHalf(facts: Facts, half: Half): Promise<SignedHalf | null> {
  const signature = readBytesFact(facts, `${half}.signature`, 64)
  const key = readBytesFact(facts, `${half}.key`, 32)
  const base = readTextFact(facts, `${half}.signature-base`)
  if (signature === null && base === null && key === null) return null
  // Parts of a signature prove nothing, and look as if they did.
  if (signature === null || base === null || key === null) {
    throw new ReceiptError(rejectedCode[half], 'a part of the signature is withheld')
  }
  const parsed = parseBase(base, half)
  await checkDigest(facts, half, parsed)
  if (!(await verifyEd25519(key, signature, utf8(base)))) throw new ReceiptError(rejectedCode[half])
  return { signature, base, parsed, key }
}

function parseBase(base: string, half: Half): ParsedSignatureBase {
  try {
    return parseSignatureBase(base)
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw new ReceiptError(rejectedCode[half], error.message)
  }
}

/** What was signed as content is what the ledger recorded as content; unsigned means empty. */
async function checkDigest(facts: Facts, half: Half, base: ParsedSignatureBase): Promise<void> {
  const recorded = readBytesFact(facts, `${half}.digest`, 32)
  const field = base.values.get('"content-digest"')
  if (field === undefined) {
    const empty = recorded === null || equalBytes(recorded, await sha256(new Uint8Array(0)))
    if (!empty) throw new ReceiptError('DIGEST_MISMATCHED', `the ${half} was signed without it`)
    return
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
async function verifyForwarded(given: AttestedExchange): Promise<Uint8Array | null> {
  const facts = given.response
  const signature = readBytesFact(facts, 'forwarded.signature', 64)
  const base = readTextFact(facts, 'forwarded.signature-base')
  if (signature === null && base === null) return null
  const key = readBytesFact(facts, 'forwarded.key', 32) ?? given.fabricKey
  const { values } = parseBase(base ?? '', 'request')
  const named = values.get('"countersign-exchange"') === given.exchange
  if (signature === null || !named || !(await verifyEd25519(key, signature, utf8(base ?? '')))) {
    throw new ReceiptError('REQUEST_SIGNATURE_REJECTED', 'as it was forwarded')
  }
  return signature
}

/** Without this link an answer to one question could be shown as the answer to another. */
function checkLinked(response: SignedHalf, request: Uint8Array | null): void {
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
 * A party attested exactly when a key that is not the fabric's signed. The fabric cannot pass its
 * own signature off as theirs, nor drop theirs from what it says.
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
