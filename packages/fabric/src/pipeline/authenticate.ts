import {
  equalBytes,
  parseContentDigest,
  parseSpiffeId,
  requestProfileFault,
} from '@countersign/protocol'
import type { Authenticator, Caller, Presented } from '../identity/caller.ts'
import type { MessageSignatures } from '../identity/message-signatures.ts'
import { Refusal, undecided } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import type { PresentedSignature, UncheckedRequest } from './unchecked-request.ts'

/** The dependencies of the stage on identity. */
export interface AuthenticateDeps {
  readonly authenticators: readonly Authenticator[]
  readonly signatures: MessageSignatures
}

/**
 * Proof that authentication ran. The constructor stays in this file and the caller stays in a
 * private field, so no other module can make one, copy one with a change, or dress one up.
 */
class Authenticated {
  readonly unchecked: UncheckedRequest
  readonly #caller: Caller
  readonly #signed: boolean

  constructor(unchecked: UncheckedRequest, caller: Caller, signed: boolean) {
    this.unchecked = unchecked
    this.#caller = caller
    this.#signed = signed
  }

  get caller(): Caller {
    return this.#caller
  }

  /** True if the caller's own signature over this very request was verified. */
  get signed(): boolean {
    return this.#signed
  }
}

export type { Authenticated }

/**
 * Proof that the credentials of a request head name an active principal. Reading a body requires
 * one. Made in this file only.
 */
class Identified {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  get caller(): Caller {
    return this.#caller
  }
}

export type { Identified }

/**
 * Identifies the sender from the head, before its body may cost anything. The credential is looked
 * up again by `authenticate`, since it can be revoked while the body arrives. Never rejects.
 */
export async function identify(
  presented: Presented,
  transport: UncheckedRequest['transport'],
  deps: Pick<AuthenticateDeps, 'authenticators'>,
): Promise<Identified | Refusal> {
  const caller = await callerOf(presented, transport, deps).catch(undecided)
  return caller instanceof Refusal ? caller : new Identified(caller)
}

async function callerOf(
  presented: Presented,
  transport: UncheckedRequest['transport'],
  deps: Pick<AuthenticateDeps, 'authenticators'>,
): Promise<Caller | Refusal> {
  let caller: Caller | null = null
  for (const identify of deps.authenticators) {
    const given = identify(presented)
    const answer = given instanceof Promise ? await given : given
    if (answer instanceof Refusal) return answer
    if (answer === null) continue
    // Two credentials for two principals is how a confused deputy is made; neither is believed.
    if (caller !== null && caller.spiffeId !== answer.spiffeId) {
      return new Refusal(
        'CREDENTIALS_CONFLICTING',
        `${caller.method} names ${caller.spiffeId}, ${answer.method} names ${answer.spiffeId}`,
      )
    }
    caller = caller === null ? answer : narrower(caller, answer)
  }
  return caller ?? new Refusal('CREDENTIAL_MISSING', `nothing presented on ${transport}`)
}

/**
 * Of two proofs of one principal the scoped one counts: together with a certificate, it means that
 * its holder wants less. Of two scoped ones neither opens what the other does not.
 */
function narrower(caller: Caller, other: Caller): Caller {
  const { scopes } = other
  if (scopes === null) return caller
  if (caller.scopes === null) return other
  return { ...caller, scopes: caller.scopes.filter((name) => scopes.includes(name)) }
}

export async function authenticate(
  unchecked: UncheckedRequest,
  deps: AuthenticateDeps,
): Promise<Authenticated | Refusal> {
  const { presented, refused = null } = unchecked
  if (refused !== null) return refused
  if (presented === null) {
    return unchecked.fault ?? new Refusal('MESSAGE_MALFORMED', 'the head could not be read')
  }
  const caller = await callerOf(presented, unchecked.transport, deps)
  if (caller instanceof Refusal) return caller
  if (unchecked.signature === null) return new Authenticated(unchecked, caller, false)
  const uncovered = coverageFault(unchecked, unchecked.signature, caller)
  if (uncovered !== null) return new Refusal('SIGNATURE_REJECTED', uncovered)
  const fault = await deps.signatures.checkRequest(unchecked.signature.signed, caller)
  return fault ?? new Authenticated(bound(unchecked, unchecked.signature), caller, true)
}

/** An exchange is never bound to a signature that was not verified for this receiver. */
function bound(unchecked: UncheckedRequest, { signed }: PresentedSignature): UncheckedRequest {
  const { boundExchange } = unchecked
  if (boundExchange === undefined) return unchecked
  return { ...unchecked, exchange: boundExchange(signed.signature) }
}

/** A signature that leaves out the body or the receiver proves too little to be called one. */
function coverageFault(
  { message, target }: UncheckedRequest,
  signature: PresentedSignature,
  caller: Caller,
): string | null {
  const { signed, request } = signature
  const hasBody = message.body.length > 0
  const fault = requestProfileFault(signed, { ...request, hasBody })
  if (fault !== null) return fault
  const field = (name: string) => request.headers.find(([header]) => header === name)?.[1]
  const to = field('countersign-to')
  // Otherwise a request signed for one receiver could be replayed to another of the same path.
  if (to !== undefined && !isTarget(to, target, caller)) {
    return `it was signed for ${to}, not for ${target.name}`
  }
  return hasBody ? digestFault(field('content-digest') ?? '', message.body) : null
}

/** The whole SPIFFE ID counts: another trust domain has receivers of the same names. */
function isTarget(to: string, target: UncheckedRequest['target'], caller: Caller): boolean {
  const id = parseSpiffeId(to)
  if (id === null || id.instance !== null || id.name !== target.name) return false
  const isKind = target.kind !== 'agent' || id.kind === 'agent'
  return isKind && id.trustDomain === parseSpiffeId(caller.spiffeId)?.trustDomain
}

/** Null when `field` is the digest of `body` (RFC 9530). */
export function digestFault(field: string, body: Uint8Array): string | null {
  try {
    return equalBytes(parseContentDigest(field), sha256(body))
      ? null
      : 'Content-Digest does not match'
  } catch (cause) {
    return `Content-Digest cannot be read: ${String(cause)}`
  }
}
