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
import { type Exchange, openExchange } from './exchange.ts'
import type { PresentedSignature, UncheckedRequest } from './unchecked-request.ts'

/** The dependencies of the stage on identity. */
export interface AuthenticateDeps {
  readonly authenticators: readonly Authenticator[]
  readonly signatures: MessageSignatures
}

const identified: unique symbol = Symbol('identified')
const authenticated: unique symbol = Symbol('authenticated')

/**
 * Known once the credentials of a request head name an active principal. Reading a body requires
 * it. Found in this file only.
 */
export interface Identified {
  readonly [identified]: true
  readonly caller: Caller
}

/** The decoded members that no stage replaces. */
type Decoded = Pick<UncheckedRequest, 'at' | 'transport' | 'target' | 'received' | 'signature'>

/** Known once authentication has run over the whole request. Found in this file only. */
export interface Authenticated extends Decoded {
  readonly [authenticated]: true
  /** Bound to the caller's signature, where the transport binds it. */
  readonly id: UncheckedRequest['id']
  readonly caller: Caller
  /** True if the caller's own signature over this very request was verified. */
  readonly signed: boolean
  /** Aborted when the caller leaves; undefined where nothing waits for it. */
  readonly left: AbortSignal | undefined
}

/**
 * Identifies the sender from the head, before its body may cost anything. The credential is looked
 * up again by `authenticate`, since it can be revoked while the body arrives. Never rejects.
 */
export async function identify(
  presented: Presented,
  transport: UncheckedRequest['transport'],
  deps: Pick<AuthenticateDeps, 'authenticators'>,
): Promise<Exchange<Identified> | Refusal> {
  const caller = await callerOf(presented, transport, deps).catch(undecided)
  return caller instanceof Refusal ? caller : openExchange({ [identified]: true as const, caller })
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
): Promise<Exchange<Authenticated> | Refusal> {
  const { presented, refused = null } = unchecked
  if (refused !== null) return refused
  if (presented === null) {
    return unchecked.fault ?? new Refusal('MESSAGE_MALFORMED', 'the head could not be read')
  }
  const caller = await callerOf(presented, unchecked.transport, deps)
  if (caller instanceof Refusal) return caller
  const { signature } = unchecked
  if (signature === null) return open(unchecked, { id: unchecked.id, caller, signed: false })
  const uncovered = coverageFault(unchecked, signature, caller)
  if (uncovered !== null) return new Refusal('SIGNATURE_REJECTED', uncovered)
  const fault = await deps.signatures.checkRequest(signature.signed, caller)
  if (fault !== null) return fault
  // An exchange is never bound to a signature that was not verified for this receiver.
  const id = unchecked.boundExchange?.(signature.signed.signature) ?? unchecked.id
  return open(unchecked, { id, caller, signed: true })
}

function open(
  { at, transport, target, received, signature, left }: UncheckedRequest,
  { id, caller, signed }: Pick<Authenticated, 'id' | 'caller' | 'signed'>,
): Exchange<Authenticated> {
  const decoded = { at, transport, target, received, signature, left }
  return openExchange({ [authenticated]: true as const, id, ...decoded, caller, signed })
}

/** A signature that leaves out the body or the receiver proves too little to be called one. */
function coverageFault(
  { received, target }: UncheckedRequest,
  signature: PresentedSignature,
  caller: Caller,
): string | null {
  const { signed, request } = signature
  const hasBody = received.body.length > 0
  const fault = requestProfileFault(signed, { ...request, hasBody })
  if (fault !== null) return fault
  const field = (name: string) => request.headers.find(([header]) => header === name)?.[1]
  const to = field('countersign-to')
  // Otherwise a request signed for one receiver could be replayed to another of the same path.
  if (to !== undefined && !isTarget(to, target, caller)) {
    return `it was signed for ${to}, not for ${target.name}`
  }
  return hasBody ? digestFault(field('content-digest') ?? '', received.body) : null
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
