import { MalformedError } from '../encoding/malformed-error.ts'
import {
  type Answer,
  baseOfComponents,
  baseOfList,
  fieldValues,
  type HeaderList,
  isSignatureLength,
  type MessageAlgorithm,
  readInput,
  readParams,
  type SignableRequest,
  type SignableResponse,
  type SignatureInput,
  type SignatureParams,
} from './http-signature-base.ts'
import { formatBareItem, isInnerList, parseDictionary } from './http-signature-fields.ts'

/**
 * One Ed25519 signature of a message (RFC 9421), read but not verified: `verifyMessage` decides
 * whether `signature` is one over `base`, the exact text, with the key that `keyId` claims.
 */
export interface SignedMessage {
  readonly label: string
  readonly keyId: string
  /** Unix seconds. */
  readonly created: number
  readonly expires: number | null
  readonly nonce: string | null
  readonly tag: string | null
  /** Of the base alone, or of a tree that the base is a leaf of. */
  readonly alg: MessageAlgorithm
  /** Identifiers as they stand in the base, such as `"@method"` or `"signature";req`. */
  readonly components: readonly string[]
  readonly signature: Uint8Array
  readonly base: string
}
export type SignedRequest = SignedMessage
export type SignedResponse = SignedMessage

/** One member that Signature-Input and Signature have in common. */
export interface MessageSignature extends SignatureInput {
  readonly label: string
  readonly params: SignatureParams
  /** 64 bytes, and the place in the tree behind them if it is one of a batch. */
  readonly signature: Uint8Array
}

export interface SignatureInputDraft {
  /** Identifiers as they stand in a base: `"@method"`, `"signature";req`. */
  readonly components: readonly string[]
  /** Unix seconds. */
  readonly created: number
  readonly keyId: string
  readonly nonce?: string
  readonly expires?: number
  readonly tag?: string
  /** `ed25519` unless given. */
  readonly alg?: MessageAlgorithm
}

/** The tag of our signatures; a signature with another tag is for another application. */
export const requestSignatureTag = 'countersign'
export const responseSignatureTag = 'countersign-response'

/** One of the caller, one of each hop that signs for itself, and room for a migration. */
export const messageSignaturesMax = 8

/** The inner list with parameters that one Signature-Input member holds. */
export function createSignatureInput(draft: SignatureInputDraft): string {
  let input = `(${draft.components.join(' ')});created=${formatBareItem(draft.created)}`
  if (draft.expires !== undefined) input += `;expires=${formatBareItem(draft.expires)}`
  input += `;keyid=${formatBareItem(draft.keyId)}`
  if (draft.nonce !== undefined) input += `;nonce=${formatBareItem(draft.nonce)}`
  input += `;alg=${formatBareItem(draft.alg ?? 'ed25519')}`
  if (draft.tag !== undefined) input += `;tag=${formatBareItem(draft.tag)}`
  return input
}

/**
 * Returns the inner list with parameters and the base over `message`, for a caller that is about to
 * sign: what `createSignatureBase` gives for `createSignatureInput`, without parsing the input
 * again. Throws a MalformedError when a component is not supported, occurs twice or cannot be
 * derived.
 */
export function draftSignature(
  draft: SignatureInputDraft,
  message: SignableRequest | Answer,
): { readonly input: string; readonly base: string } {
  const input = createSignatureInput(draft)
  return { input, base: baseOfComponents(draft.components, input, message) }
}

/**
 * All signatures of a message, in order of Signature-Input; empty when it carries neither field.
 * Throws a MalformedError on a field that does not parse, on labels that differ between the two
 * fields, on components, parameters or algorithms other than those that we support.
 */
export function parseSignatures(headers: HeaderList): readonly MessageSignature[] {
  const inputs = fieldValues('signature-input', headers)
  const signatures = fieldValues('signature', headers)
  if (inputs.length === 0 && signatures.length === 0) return []
  if (inputs.length === 0 || signatures.length === 0) {
    throw new MalformedError('a message has both signature fields or neither')
  }
  const inputOf = parseDictionary(inputs.join(', '))
  const signatureOf = parseDictionary(signatures.join(', '))
  if (inputOf.size > messageSignaturesMax) throw new MalformedError('there are too many signatures')
  if (inputOf.size !== signatureOf.size) {
    throw new MalformedError('the signature fields do not name the same signatures')
  }
  return [...inputOf].map(([label, list]) => {
    if (!isInnerList(list)) throw new MalformedError('a signature input is not a list')
    const read = readInput(list)
    const params = readParams(list)
    const member = signatureOf.get(label)
    const signature = member === undefined || isInnerList(member) ? null : member.value
    if (!(signature instanceof Uint8Array) || !isSignatureLength(params.alg, signature.length)) {
      throw new MalformedError('a signature is missing, or has not the length of its algorithm')
    }
    if (member?.parameters.size !== 0) throw new MalformedError('a signature has parameters')
    return { label, ...read, params, signature }
  })
}

/** The caller's signature, or null when there is none for us. Throws a MalformedError. */
export function readSignedRequest(request: SignableRequest): SignedRequest | null {
  return readSigned(request.headers, requestSignatureTag, request)
}

/** The callee's signature over its response to `request`, or null. Throws a MalformedError. */
export function readSignedResponse(
  response: SignableResponse,
  request: SignableRequest | null,
): SignedResponse | null {
  return readSigned(response.headers, responseSignatureTag, { response, request })
}

function readSigned(
  headers: HeaderList,
  tag: string,
  message: SignableRequest | Answer,
): SignedMessage | null {
  const all = parseSignatures(headers)
  const tagged = all.filter(({ params }) => params.tag === tag)
  const ours = tagged.length > 0 ? tagged : all.filter(({ params }) => params.tag === null)
  // Two candidates give two answers to the question of who signed; a verifier that chose between
  // them could choose wrongly.
  if (ours.length > 1) throw new MalformedError('more than one signature could be meant')
  const [one] = ours
  if (one === undefined) return null
  const { label, components, params, signature } = one
  return { label, ...params, components, signature, base: baseOfList(one, message) }
}

/** Adds one signature to a message that carries no other. */
export function formatSignedRequestHeaders(
  label: string,
  input: string,
  signature: Uint8Array,
): HeaderList {
  if (!/^[a-z][a-z0-9_.-]{0,63}$/.test(label)) throw new TypeError('not a signature label')
  return [
    ['signature-input', `${label}=${input}`],
    ['signature', `${label}=${formatBareItem(signature)}`],
  ]
}

/** The fields are the same for a response. */
export const formatSignedResponseHeaders = formatSignedRequestHeaders
