import {
  draftSignature,
  requestSignatureTag,
  responseSignatureTag,
  type SignatureInputDraft,
  type SignedMessage,
  type SignedRequest,
  type SignedResponse,
} from './http-signature.ts'
import {
  type Answer,
  fieldValues,
  type HeaderList,
  type MessageAlgorithm,
  type SignableRequest,
} from './http-signature-base.ts'

/** Names the agent or channel that a request is meant for, whatever route it takes. */
export const receiverHeader = 'countersign-to'

/**
 * The field that states that the signature of a request covers its head alone. Without
 * this field, the signed head of a stream would be that of a request without content.
 */
export const streamedBody = ['countersign-body', 'streamed'] as const
const [bodyHeader] = streamedBody

/**
 * Components of every request that our profile covers; `profileRequestComponents` adds the rest.
 */
export const requestProfileComponents = ['"@method"', '"@path"'] as const

/**
 * Components of a response that our profile covers; its request's signature makes it a
 * countersignature.
 */
export const responseProfileComponents = [
  '"@status"',
  '"content-digest"',
  '"content-type"',
  '"@method";req',
  '"@path";req',
  '"signature";req',
] as const

export interface ProfileDraft {
  /** Unix seconds. */
  readonly created: number
  readonly keyId: string
  /** Unique per request; a response needs none, its request's signature makes it unique. */
  readonly nonce?: string
  readonly expires?: number
  /** `ed25519` unless given. */
  readonly alg?: MessageAlgorithm
}

/** The member of Signature-Input and the text to sign over it. */
export interface PreparedSignature {
  readonly draft: SignatureInputDraft
  readonly input: string
  readonly base: string
}

/** Returns what a reader finds in a message that carries `signature` under `label`. */
export function signedMessage(
  label: string,
  { draft, base }: PreparedSignature,
  signature: Uint8Array,
): SignedMessage {
  const { components, created, keyId, nonce = null, expires = null, tag = null } = draft
  const { alg = 'ed25519' } = draft
  return { label, components, created, keyId, nonce, expires, tag, alg, signature, base }
}

/** The components that our profile covers of this request. */
export function profileRequestComponents(request: SignableRequest): readonly string[] {
  const components: string[] = [...requestProfileComponents]
  if (request.path.includes('?')) components.push('"@query"')
  for (const name of ['content-digest', 'content-type', bodyHeader, receiverHeader]) {
    if (hasField(name, request.headers)) components.push(`"${name}"`)
  }
  // Some covered component has to name the receiver, or the request could be replayed to another
  // one.
  if (!hasField(receiverHeader, request.headers)) components.push('"@authority"')
  return components
}

/**
 * The components that our profile covers of this response; content-type only where it exists, and
 * content-digest too, since the head of a stream is signed before there is anything to digest. A
 * verifier of a whole body asks for its digest.
 */
export function profileResponseComponents({ response, request }: Answer): readonly string[] {
  return responseProfileComponents.filter((component) => {
    if (component === '"content-type"') return hasField('content-type', response.headers)
    if (component === '"content-digest"') return hasField('content-digest', response.headers)
    if (component === '"signature";req') {
      return request !== null && hasField('signature', request.headers)
    }
    return true
  })
}

export function prepareRequestSignature(
  request: SignableRequest,
  draft: ProfileDraft,
): PreparedSignature {
  const components = profileRequestComponents(request)
  return prepare({ ...draft, components, tag: requestSignatureTag }, request)
}

export function prepareResponseSignature(answer: Answer, draft: ProfileDraft): PreparedSignature {
  const components = profileResponseComponents(answer)
  return prepare({ ...draft, components, tag: responseSignatureTag }, answer)
}

function prepare(draft: SignatureInputDraft, message: SignableRequest | Answer): PreparedSignature {
  return { draft, ...draftSignature(draft, message) }
}

/**
 * Returns the reason, as a sentence for operators, if the signature covers too little of `request`
 * to stand for it; null when it is enough.
 */
export function requestProfileFault(
  signed: SignedRequest,
  request: SignableRequest,
): string | null {
  const covers = (name: string) => signed.components.includes(`"${name}"`)
  if (!covers('@method')) return 'the signature does not cover the method'
  if (!covers('@target-uri')) {
    if (!covers('@path')) return 'the signature does not cover the path'
    if (request.path.includes('?') && !covers('@query')) {
      return 'the signature does not cover the query'
    }
  }
  const inContent = contentFault(request, covers)
  if (inContent !== null) return inContent
  if (!covers(receiverHeader) && !covers('@authority') && !covers('@target-uri')) {
    return 'the signature does not cover whom the request is for'
  }
  // A field that names the receiver, but is not signed, could be added in transit.
  if (hasField(receiverHeader, request.headers) && !covers(receiverHeader)) {
    return `the signature does not cover ${receiverHeader}`
  }
  return null
}

/** Reports whether the signer states that the content of the request is a stream. */
export function isSignedAsStream({ components }: Pick<SignedRequest, 'components'>): boolean {
  return components.includes(`"${bodyHeader}"`)
}

function contentFault(request: SignableRequest, covers: (name: string) => boolean): string | null {
  if (request.isStreamed === true) {
    // Nothing could be compared with it before the stream is forwarded.
    if (covers('content-digest')) return 'the signature covers a digest of a stream'
    const [stated, ...more] = fieldValues(bodyHeader, request.headers)
    return stated === streamedBody[1] && more.length === 0 && covers(bodyHeader)
      ? null
      : `the signature of a stream does not cover ${streamedBody.join(': ')}`
  }
  if (covers(bodyHeader)) return 'the request was signed as a stream, and is not one'
  return hasBody(request) && !covers('content-digest')
    ? 'the signature does not cover the digest of the content'
    : null
}

/**
 * As `requestProfileFault`, for a response to a request that was signed. `label` names the
 * signature of the request that it has to answer (RFC 9421, section 2.4): without it, one signed
 * response could be moved to another request. The whole field, of which any label is a part, is as
 * good.
 */
export function responseProfileFault(
  { components }: Pick<SignedResponse, 'components'>,
  { label, isWhole }: { readonly label: string; readonly isWhole: boolean },
): string | null {
  if (!components.includes('"@status"')) return 'it does not cover the status'
  // Of a stream, only the head is signed: nothing could be compared with a digest of it.
  if (!isWhole && components.some(isOwnDigest)) return 'it covers a digest of a stream'
  if (isWhole && !components.includes('"content-digest"')) {
    return 'it does not cover the digest of the response'
  }
  const own = '"signature";req'
  return components.includes(own) || components.includes(`${own};key="${label}"`)
    ? null
    : 'it does not cover the signature of the request'
}

const isOwnDigest = (component: string): boolean => /^"content-digest"(?!;req\b)/.test(component)

function hasBody(request: SignableRequest): boolean {
  if (request.hasBody !== undefined) return request.hasBody
  const [length] = fieldValues('content-length', request.headers)
  return (
    (length !== undefined && length !== '0') ||
    ['transfer-encoding', 'content-digest', 'content-type'].some((name) =>
      hasField(name, request.headers),
    )
  )
}

function hasField(name: string, headers: HeaderList): boolean {
  return fieldValues(name, headers).length > 0
}
