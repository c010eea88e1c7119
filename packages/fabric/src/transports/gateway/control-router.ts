import {
  MalformedError,
  type MeshEntry,
  parseMeshEntries,
  parseMeshRegistration,
} from '@countersign/protocol'
import type { Caller } from '../../identity/caller.ts'
import type { Committed, EntryDraft, OpenedEntry, OpenIntent } from '../../ledger/ledger.ts'
import { exchangeIdFault, Refusal } from '../../lib/refusal.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import { admitControl, answerControl, refuseUnparsedRequest } from '../../pipeline/control.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import { readControl } from '../../pipeline/large-bodies.ts'
import { recheck } from '../../pipeline/recheck.ts'
import { refusalOfEntry } from '../../pipeline/record.ts'
import type { UncheckedRequest } from '../../pipeline/unchecked-request.ts'
import type { PolicyAction } from '../../policy/policy.ts'
import { CONTROL_JSON_LIMITS, parseJsonBody } from '../../protocols/reading/json-body.ts'
import type { EndpointRegistry } from '../../routes/endpoint-registry.ts'
import { exchangeHeaders } from '../http/call.ts'
import type { PathRoute } from '../http/path-routes.ts'
import type { Reply } from '../http/respond.ts'
import {
  type Claim,
  createEntryChecks,
  type EntryChecks,
  type EntryChecksOptions,
  recordedEntry,
} from './entry-checks.ts'
import {
  integerIn,
  jsonBytesReply,
  jsonReply,
  problemReply,
  type RequestContext,
  type Router,
  uncheckedRequest,
} from './request-context.ts'

export interface ControlOptions extends EntryChecksOptions {
  readonly deps: PipelineDeps
  readonly ledger: {
    append(draft: EntryDraft): Promise<Committed>
    findReceipt(exchange: string): Promise<Uint8Array | null>
    explain(exchange: string): Promise<readonly OpenedEntry[]>
    openIntent(exchange: string): OpenIntent | null
  }
  readonly endpoints: EndpointRegistry
  readonly state: {
    /** The state as JSON, once it is another than that of `after`, or `waitMs` have passed. */
    wait(
      after: number,
      waitMs: number,
      reader: { readonly identity: string; readonly signal: AbortSignal },
    ): Promise<Uint8Array | Refusal>
  }
}

const longPollMs = 25_000

/** Receipts: for the two ends of an exchange, and for callers that may read all. */
export function receiptsRoutes(options: ControlOptions): readonly PathRoute<Router>[] {
  return [['* /v1/receipts/**', receiptsRouter(options)]]
}

function receiptsRouter(options: ControlOptions): Router {
  return async (context) => {
    const exchange = context.rest.slice(1)
    const malformed = exchangeIdFault(exchange)
    const { deps, ledger } = options
    const own = uncheckedFor(context, { action: 'read', operation: 'own.receipt' }, malformed)
    const found = await answerControl(deps, own, async ({ caller, still }) =>
      isOwn(await ledger.explain(exchange), caller)
        ? { receipt: await ledger.findReceipt(exchange), still }
        : null,
    )
    const wider = uncheckedFor(context, { action: 'read', operation: 'receipt.read' })
    const answer =
      found ??
      (await answerControl(deps, wider, async ({ still }) => ({
        receipt: await ledger.findReceipt(exchange),
        still,
      })))
    if (answer instanceof Refusal) return problemReply(answer, context.exchange)
    if (answer.receipt === null) {
      return problemReply(await whyNoReceipt(ledger, exchange), context.exchange)
    }
    const type = 'application/vnd.countersign.receipt+json'
    const { receipt: body, still } = answer
    return { status: 200, headers: [['content-type', type]], body, still }
  }
}

const openAgainMs = 1_000

/**
 * Returned only to callers that may have the receipt; all others cannot see whether an exchange is
 * there.
 */
async function whyNoReceipt(ledger: ControlOptions['ledger'], exchange: string): Promise<Refusal> {
  const entries = await ledger.explain(exchange)
  return entries.some(({ kind }) => kind === 'intent')
    ? new Refusal('EXCHANGE_OPEN', exchange, openAgainMs)
    : new Refusal('EXCHANGE_UNKNOWN', exchange)
}

/**
 * The receiver is a bare name: an agent of that name does not own the messages that a channel or
 * the fabric received. A scoped credential reads entries that went to its targets, and not the
 * other exchanges of its holder.
 */
function isOwn(entries: readonly OpenedEntry[], { spiffeId, name, scopes }: Caller): boolean {
  return entries.some(({ facts }) => {
    const isInScope = scopes === null || scopes.some((scope) => scope === facts['receiver'])
    const isToAgent = facts['protocol'] !== 'queue' && facts['protocol'] !== 'admin'
    const isEnd = facts['caller'] === spiffeId || (isToAgent && facts['receiver'] === name)
    return isInScope && isEnd
  })
}

/** The operations of connectors and serving agents, below `/v1/mesh`. */
export function meshRoutes(options: ControlOptions): readonly PathRoute<Router>[] {
  const checks = createEntryChecks(options)
  const routed = (answer: MeshAnswer): Router => {
    return async (context) => {
      const reply = await answer(options, context, checks)
      return reply instanceof Refusal ? problemReply(reply, context.exchange) : reply
    }
  }
  return [
    ['GET /v1/mesh/state', routed(meshState)],
    ['POST /v1/mesh/endpoints', routed(meshEndpoints)],
    ['POST /v1/mesh/entries', routed(meshEntries)],
    ['* /v1/mesh/**', routed(unknownOperation)],
  ]
}

const unparsed = { action: 'discover', operation: 'unread' } as const

type MeshAnswer = (
  options: ControlOptions,
  context: RequestContext,
  checks: EntryChecks,
) => Promise<Reply | Refusal>

const unknownOperation: MeshAnswer = async (options, context) => {
  const unknown = new Refusal(
    'OPERATION_UNKNOWN',
    `${context.received.head.method} ${context.path}`,
  )
  const refused = await admit(options, context, unparsed, unknown)
  return refused instanceof Refusal ? refused : unknown
}

const meshState: MeshAnswer = async (options, context) => {
  const after = integerIn(context, 'after')
  const unchecked = uncheckedFor(context, { action: 'discover', operation: 'mesh.state' })
  return answerControl(options.deps, unchecked, async ({ caller, still }) => {
    if (after instanceof Refusal) return after
    const reader = { identity: caller.spiffeId, signal: context.signal }
    // Those who wait have a limit of their own (`mesh.stateReaders`).
    context.received.begun()
    const bytes = await options.state.wait(after ?? -1, longPollMs, reader)
    return bytes instanceof Refusal ? bytes : { ...jsonBytesReply(bytes), isShared: true, still }
  })
}

const meshEndpoints: MeshAnswer = async (options, context) => {
  // Other agents rely on the endpoints of a name: a key or a token that may find agents, narrowed
  // or stolen, must not move one.
  const request = await admit(options, context, { action: 'record', operation: 'mesh.register' })
  if (request instanceof Refusal) return request
  const { caller: admitted } = request.authenticated
  const registration = parse(options, context, parseMeshRegistration)
  if (registration instanceof Refusal) return refuse(options, context, registration)
  const expiresAt = context.at + registration.ttlSeconds * 1000
  const endpoints = registration.endpoints.map((endpoint) => ({
    ...endpoint,
    name: admitted.name,
    expiresAt,
  }))
  options.endpoints.register(admitted.name, registration.instance, endpoints)
  return jsonReply({ expiresAt })
}

const meshEntries: MeshAnswer = async (options, context, checks) => {
  const request = await admit(options, context, { action: 'record', operation: 'mesh.entries' })
  if (request instanceof Refusal) return request
  const { caller: admitted } = request.authenticated
  const entries = parse(options, context, parseMeshEntries)
  if (entries instanceof Refusal) return refuse(options, context, entries)
  const claim = await checks.claim(entries, admitted, context.at)
  if (claim instanceof Refusal) return refuse(options, context, claim)
  // Claims are checked against the disk and by signatures, during which a connector can lose its
  // right.
  const lost = recheck(request, options.deps.authorization)
  if (lost !== null) {
    claim.release()
    return refuse(options, context, lost.beforeDelivery())
  }
  const { indexes, limits, failure } = await appendClaimed(options, entries, {
    claim,
    at: context.at,
    producer: admitted.spiffeId,
  }).finally(() => claim.release())
  const isNothing = indexes.every((index) => index === null)
  // Nothing is on record: the connector receives the cause, and not a list of nulls.
  if (isNothing && failure !== null && failure.refusal === null) throw failure.cause
  const refusal = claim.refusal ?? (failure === null ? null : refusalOf(failure))
  if (refusal === null) return jsonReply({ indexes })
  const told = await refuse(options, context, refusal)
  // Without a record of the refusal, the connector sends its entries again; each is recorded
  // once.
  if (told !== refusal) return told
  const named = limits.some((limit) => limit !== null) ? { limits } : {}
  const headers = exchangeHeaders(context.exchange)
  return isNothing ? refusal : jsonReply({ indexes, ...named }, headers)
}

interface Failure {
  readonly cause: unknown
  /** Null if the ledger could not give a reason. */
  readonly refusal: Refusal | null
}

function refusalOf({ cause, refusal }: Failure): Refusal {
  return refusal ?? new Refusal('LEDGER_UNAVAILABLE', String(cause))
}

interface Appended {
  /** By position of the entry; null for one that was not recorded. */
  readonly indexes: readonly (number | null)[]
  /**
   * By position: the limit that stopped an entry, so that its connector can name it to its caller.
   */
  readonly limits: readonly (string | null)[]
  readonly failure: Failure | null
}

interface Appending {
  readonly claim: Pick<Claim, 'admitted' | 'recorded'>
  readonly at: number
  readonly producer: string
}

/**
 * Records what was admitted, each entry by itself, so that exchanges of the others are not left
 * open when one meets a limit or cannot be written. The time is the fabric's: a connector cannot
 * write among the entries of last year.
 */
async function appendClaimed(
  { ledger }: ControlOptions,
  entries: readonly (MeshEntry | MalformedError)[],
  { claim, at: time, producer }: Appending,
): Promise<Appended> {
  const failures: Failure[] = []
  const limits: (string | null)[] = entries.map(() => null)
  const append = async (entry: MeshEntry | MalformedError, at: number): Promise<number | null> => {
    const known = claim.recorded.get(entry)
    if (known !== undefined) return known
    if (entry instanceof MalformedError || !claim.admitted.has(entry)) return null
    try {
      return (await ledger.append({ ...recordedEntry(entry, producer), at: time })).index
    } catch (cause) {
      const refusal = refusalOfEntry(cause)
      failures.push({ cause, refusal })
      limits[at] = refusal?.limit ?? null
      return null
    }
  }
  const indexes = await Promise.all(entries.map(append))
  return { indexes, limits, failure: failures[0] ?? null }
}

/** For what an admitted caller may not do after all: on record, as every refusal is. */
async function refuse(
  { deps }: ControlOptions,
  context: RequestContext,
  refusal: Refusal,
): Promise<Refusal> {
  const target = { kind: 'fabric', name: 'fabric', protocol: 'admin', tool: '' } as const
  const operation = context.path.slice('/v1/'.length).replace('/', '.')
  const unchecked = uncheckedRequest(context, { ...target, action: 'record', operation }, refusal)
  const { unrecorded } = await refuseUnparsedRequest(deps, unchecked, refusal)
  return unrecorded ?? refusal
}

function admit(
  { deps }: ControlOptions,
  context: RequestContext,
  asked: Asked,
  fault: Refusal | null = null,
): Promise<Authorized | Refusal> {
  return admitControl(deps, uncheckedFor(context, asked, fault))
}

interface Asked {
  readonly action: PolicyAction
  readonly operation: string
}

function uncheckedFor(
  context: RequestContext,
  asked: Asked,
  fault: Refusal | null = null,
): UncheckedRequest {
  const target = { kind: 'fabric', name: 'fabric', protocol: 'admin', tool: '' } as const
  return uncheckedRequest(context, { ...target, ...asked }, fault)
}

function parse<T>(
  { deps }: ControlOptions,
  { received: { body, client } }: RequestContext,
  read: (value: unknown) => T,
): T | Refusal {
  return readControl(deps, client, () => {
    const value = parseJsonBody(body, CONTROL_JSON_LIMITS)
    if (value instanceof Refusal) return value
    try {
      return read(value)
    } catch (cause) {
      return new Refusal('MESSAGE_MALFORMED', String(cause))
    }
  })
}
