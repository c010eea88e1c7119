import {
  equalBytes,
  parseContentDigest,
  parseSpiffeId,
  requestProfileFault,
} from '@countersign/protocol'
import type { Authenticator, Caller, Presented } from '../identity/caller.ts'
import { Delegation } from '../identity/delegation.ts'
import type { MessageSignatures } from '../identity/message-signatures.ts'
import { Refusal, undecided } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import { type Exchange, openExchange } from './exchange.ts'
import type {
  FirstMessage,
  PresentedSignature,
  UncheckedHead,
  UncheckedRequest,
} from './unchecked-request.ts'

/** The dependencies of the stage on identity. */
export interface AuthenticateDeps {
  readonly authenticators: readonly Authenticator[]
  readonly signatures: MessageSignatures
  /** The fabric's: that of the receivers. */
  readonly trustDomain: string
}

const identified: unique symbol = Symbol('identified')
const authenticated: unique symbol = Symbol('authenticated')

/**
 * Known once the credentials of a request head name an active principal. Reading a body requires
 * it. Made in this file only.
 */
export interface Identified {
  readonly [identified]: true
  readonly presented: Presented
  readonly caller: Caller
}

/** The decoded members that no stage replaces. */
type Decoded = Pick<FirstMessage, 'at' | 'transport' | 'target' | 'received' | 'signature'>

/**
 * Known once authentication has run over the first message. It begins an exchange value of its own,
 * because the caller is looked up again. Made in this file only.
 */
export interface Authenticated extends Decoded {
  readonly [authenticated]: true
  /** Bound to the caller's signature, where the transport binds it. */
  readonly id: FirstMessage['id']
  readonly caller: Caller
  /**
   * True if the caller's own signature over this very request was verified. False for a streamed
   * one: its signature was verified as well, and covers nothing that comes after the head.
   */
  readonly signed: boolean
  /** Aborted when the caller leaves; undefined where nothing waits for it. */
  readonly left: AbortSignal | undefined
}

/**
 * Identifies the sender from the head, before its body may cost anything. The credential is looked
 * up again by `authenticate`, since it can be revoked while the body arrives. Never rejects.
 */
export async function identify(
  { presented, transport }: UncheckedHead,
  deps: Pick<AuthenticateDeps, 'authenticators'>,
): Promise<Exchange<Identified> | Refusal> {
  const caller = await callerOf(presented, transport, deps).catch(undecided)
  if (caller instanceof Refusal) return caller
  return openExchange({ [identified]: true as const, presented, caller })
}

async function callerOf(
  presented: Presented,
  transport: FirstMessage['transport'],
  deps: Pick<AuthenticateDeps, 'authenticators'>,
): Promise<Caller | Refusal> {
  let caller: Caller | null = null
  let delegation: Delegation | null = null
  for (const identify of deps.authenticators) {
    const given = identify(presented)
    const answer = given instanceof Promise ? await given : given
    if (answer instanceof Refusal) return answer
    if (answer === null) continue
    if (answer instanceof Delegation) {
      delegation = answer
      continue
    }
    // Two credentials for two principals is how a confused deputy is made; neither is believed.
    if (caller !== null && caller.principal !== answer.principal) {
      return new Refusal(
        'CREDENTIALS_CONFLICTING',
        `${caller.method} names ${caller.principal}, ${answer.method} names ${answer.principal}`,
      )
    }
    caller = caller === null ? answer : narrower(caller, answer)
  }
  if (delegation !== null) return actingBy(delegation, caller)
  return caller ?? new Refusal('CREDENTIAL_MISSING', `nothing presented on ${transport}`)
}

/** A delegation counts for the caller that it names, which has a credential of its own. */
function actingBy({ actor, onBehalfOf }: Delegation, caller: Caller | null): Caller | Refusal {
  const { user } = onBehalfOf
  if (caller?.principal === actor) return { ...caller, onBehalfOf }
  const names = `the token lets ${actor} act for ${user}`
  return caller === null
    ? new Refusal('CREDENTIAL_REJECTED', `${names}, whose own credential is missing`)
    : new Refusal('CREDENTIALS_CONFLICTING', `${names}, and the caller is ${caller.principal}`)
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

/** The head of a request: as the adapter admitted it, or identified now. Never rejects. */
export function headOf(
  { head, presented, transport, fault }: UncheckedRequest,
  deps: Pick<AuthenticateDeps, 'authenticators'>,
): Exchange<Identified> | Refusal | Promise<Exchange<Identified> | Refusal> {
  if (head !== null) return head
  if (presented !== null) return identify({ presented, transport }, deps)
  return fault ?? new Refusal('MESSAGE_MALFORMED', 'the head could not be read')
}

export async function authenticate(
  head: Exchange<Identified>,
  message: FirstMessage,
  deps: AuthenticateDeps,
): Promise<Exchange<Authenticated> | Refusal> {
  const caller = await callerOf(head.presented, message.transport, deps)
  if (caller instanceof Refusal) return caller
  // The message is on the account of the caller that the head named.
  if (caller.principal !== head.caller.principal) {
    const detail = `the head named ${head.caller.principal}, the message names ${caller.principal}`
    return new Refusal('CREDENTIALS_CONFLICTING', detail)
  }
  const { id, signature } = message
  if (signature === null) return open(message, { id, caller, signed: false })
  const uncovered = coverageFault(message, signature, deps)
  if (uncovered !== null) return new Refusal('SIGNATURE_REJECTED', uncovered)
  const fault = await deps.signatures.checkRequest(signature.signed, caller)
  if (fault !== null) return fault
  // An exchange is never bound to a signature that was not verified for this receiver.
  const bound = message.boundExchange?.(signature.signed.signature) ?? id
  // That of a stream covers the head alone, so that it attests nothing of what is delivered.
  return open(message, { id: bound, caller, signed: message.received.frames === undefined })
}

function open(
  { at, transport, target, received, signature, left }: FirstMessage,
  { id, caller, signed }: Pick<Authenticated, 'id' | 'caller' | 'signed'>,
): Exchange<Authenticated> {
  const decoded = { at, transport, target, received, signature, left }
  return openExchange({ [authenticated]: true as const, id, ...decoded, caller, signed })
}

/** A signature that leaves out the body or the receiver proves too little to be called one. */
function coverageFault(
  { received, target }: FirstMessage,
  signature: PresentedSignature,
  { trustDomain }: Pick<AuthenticateDeps, 'trustDomain'>,
): string | null {
  const { signed, request } = signature
  const hasBody = received.body.length > 0
  const isStreamed = received.frames !== undefined
  const fault = requestProfileFault(signed, { ...request, hasBody, isStreamed })
  if (fault !== null) return fault
  const field = (name: string) => request.headers.find(([header]) => header === name)?.[1]
  const to = field('countersign-to')
  // Otherwise a request signed for one receiver could be replayed to another of the same path.
  if (to !== undefined && !isTarget(to, target, trustDomain)) {
    return `it was signed for ${to}, not for ${target.name}`
  }
  return hasBody && !isStreamed ? digestFault(field('content-digest') ?? '', received.body) : null
}

/** The whole SPIFFE ID counts: another trust domain has receivers of the same names. */
function isTarget(to: string, target: FirstMessage['target'], trustDomain: string): boolean {
  const id = parseSpiffeId(to)
  if (id === null || id.instance !== null || id.name !== target.name) return false
  const isKind = target.kind !== 'agent' || id.kind === 'agent'
  return isKind && id.trustDomain === trustDomain
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
