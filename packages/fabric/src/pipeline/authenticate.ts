import {
  equalBytes,
  parseContentDigest,
  parseSpiffeId,
  requestProfileFault,
} from '@countersign/protocol'
import type { Authentication, Authenticator, Caller, Presented } from '../identity/caller.ts'
import { Delegation } from '../identity/delegation.ts'
import type { MessageSignatures } from '../identity/message-signatures.ts'
import { andThen, type Maybe, Refusal, undecided } from '../lib/refusal.ts'
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
 * up again by `authenticate`, since it can be revoked while the body arrives. Never throws, and
 * never rejects.
 */
export function identify(
  { presented, transport }: UncheckedHead,
  { authenticators }: Pick<AuthenticateDeps, 'authenticators'>,
): Maybe<Exchange<Identified>> {
  const named = (caller: Caller | Refusal) =>
    caller instanceof Refusal
      ? caller
      : openExchange({ [identified]: true as const, presented, caller })
  return decided(() => andThen(callerOf({ presented, transport, authenticators }), named))
}

/** An exception means that the step could not decide, now or after a wait. */
function decided<Result>(step: () => Maybe<Result>): Maybe<Result> {
  try {
    const given = step()
    return given instanceof Promise ? given.catch(undecided) : given
  } catch (cause) {
    return undecided(cause)
  }
}

interface Asking extends UncheckedHead {
  readonly authenticators: readonly Authenticator[]
}

type Answer = Authentication | Delegation

/** The answers of the authenticators so far. */
interface Proven {
  readonly caller: Caller | null
  readonly delegation: Delegation | null
}

const nothingProven: Proven = { caller: null, delegation: null }

/** Asks the authenticators in order, from `first`; the first refusal is the last question. */
function callerOf(asking: Asking, first = 0, proven = nothingProven): Maybe<Caller> {
  const { presented, transport, authenticators } = asking
  let known = proven
  for (let i = first; i < authenticators.length; i += 1) {
    const answer = authenticators[i]?.(presented) ?? null
    if (answer instanceof Promise) return callerAfter(answer, known, { asking, next: i + 1 })
    const more = withAnswer(known, answer)
    if (more instanceof Refusal) return more
    known = more
  }
  const { caller, delegation } = known
  if (delegation !== null) return actingBy(delegation, caller)
  return caller ?? new Refusal('CREDENTIAL_MISSING', `nothing presented on ${transport}`)
}

async function callerAfter(
  answer: Promise<Answer>,
  known: Proven,
  { asking, next }: { readonly asking: Asking; readonly next: number },
): Promise<Caller | Refusal> {
  const more = withAnswer(known, await answer)
  return more instanceof Refusal ? more : callerOf(asking, next, more)
}

function withAnswer(known: Proven, answer: Answer): Proven | Refusal {
  if (answer === null) return known
  if (answer instanceof Refusal) return answer
  if (answer instanceof Delegation) return { ...known, delegation: answer }
  const { caller } = known
  if (caller === null) return { ...known, caller: answer }
  // Two credentials for two principals is how a confused deputy is made; neither is believed.
  if (caller.principal !== answer.principal) {
    return new Refusal(
      'CREDENTIALS_CONFLICTING',
      `${caller.method} names ${caller.principal}, ${answer.method} names ${answer.principal}`,
    )
  }
  return { ...known, caller: narrower(caller, answer) }
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
): Maybe<Exchange<Identified>> {
  if (head !== null) return head
  if (presented !== null) return identify({ presented, transport }, deps)
  return fault ?? new Refusal('MESSAGE_MALFORMED', 'the head could not be read')
}

/** Never throws, and never rejects. Waits only where a credential or a signature does. */
export function authenticate(
  head: Exchange<Identified>,
  message: FirstMessage,
  deps: AuthenticateDeps,
): Maybe<Exchange<Authenticated>> {
  const { authenticators } = deps
  const { transport } = message
  const named = { head, message, deps }
  return decided(() =>
    andThen(callerOf({ presented: head.presented, transport, authenticators }), (caller) =>
      authenticateAs(caller, named),
    ),
  )
}

interface Named {
  readonly head: Exchange<Identified>
  readonly message: FirstMessage
  readonly deps: AuthenticateDeps
}

function authenticateAs(
  caller: Caller | Refusal,
  { head, message, deps }: Named,
): Maybe<Exchange<Authenticated>> {
  if (caller instanceof Refusal) return caller
  // The message is on the account of the caller that the head named.
  if (caller.principal !== head.caller.principal) {
    const detail = `the head named ${head.caller.principal}, the message names ${caller.principal}`
    return new Refusal('CREDENTIALS_CONFLICTING', detail)
  }
  const { id, signature } = message
  return signature === null
    ? open(message, { id, caller, signed: false })
    : authenticateSigned(message, signature, { caller, deps })
}

async function authenticateSigned(
  message: FirstMessage,
  signature: PresentedSignature,
  { caller, deps }: { readonly caller: Caller; readonly deps: AuthenticateDeps },
): Promise<Exchange<Authenticated> | Refusal> {
  const { id } = message
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
