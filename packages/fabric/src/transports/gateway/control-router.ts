import {
  FormerFormatError,
  isAssignableName,
  type MeshApprovalAnswer,
  type MeshApprovalClaim,
  parseMeshApprovalClaim,
  parseMeshRegistration,
  parsePackedBatch,
} from '@countersign/protocol'
import type { Caller } from '../../identity/caller.ts'
import type { AcceptedBatch, BatchIntake } from '../../ledger/batch-intake.ts'
import type { Appended } from '../../ledger/claimed-entries.ts'
import type { EntryAdmission } from '../../ledger/entry-admission.ts'
import type { CommittedBatch } from '../../ledger/ledger.ts'
import type { ReceiptAccess } from '../../ledger/receipt-access.ts'
import { exchangeIdFault, Refusal } from '../../lib/refusal.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import { admitControl, answerControl, recordRefusedRequest } from '../../pipeline/control.ts'
import type { StillPermitted } from '../../pipeline/delivery.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { readControl } from '../../pipeline/large-bodies.ts'
import { recheck } from '../../pipeline/recheck.ts'
import { refusalOfFailure } from '../../pipeline/record.ts'
import type { UncheckedRequest } from '../../pipeline/unchecked-request.ts'
import type { PolicyAction } from '../../policy/policy.ts'
import { CONTROL_JSON_LIMITS, parseJsonBody } from '../../protocols/reading/json-body.ts'
import type { EndpointRegistry } from '../../routes/endpoint-registry.ts'
import { exchangeHeaders } from '../http/call.ts'
import type { PathRoute } from '../http/path-routes.ts'
import type { Reply } from '../http/respond.ts'
import {
  decodedRequest,
  integerIn,
  jsonBytesReply,
  jsonReply,
  problemReply,
  type RequestContext,
  type Router,
} from './request-context.ts'

export interface ControlOptions {
  readonly deps: PipelineDeps
  readonly batches: Pick<BatchIntake, 'read' | 'accept'>
  readonly entries: EntryAdmission
  readonly receipts: ReceiptAccess
  /** The log slot of this process. */
  readonly slot: string
  readonly endpoints: EndpointRegistry
  /** Uses an approval for a connector, or states what it waits for. */
  claimApproval(claim: MeshApprovalClaim, connector: Caller): Promise<MeshApprovalAnswer | Refusal>
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
    const { deps, receipts } = options
    const own = uncheckedFor(context, { action: 'read', operation: 'own.receipt' }, malformed)
    const receiptOf = async (still: StillPermitted) => ({
      ...{ receipt: await receipts.find(exchange), elsewhere: null, still },
    })
    const found = await answerControl(deps, own, async ({ caller, still }) => {
      // Behind authentication and policy, before ownership, which the holder of the log decides.
      const elsewhere = await receipts.elsewhere(exchange)
      if (elsewhere !== null) return { receipt: null, elsewhere, still }
      return (await receipts.isOwn(exchange, caller)) ? receiptOf(still) : null
    })
    const wider = uncheckedFor(context, { action: 'read', operation: 'receipt.read' })
    const answer = found ?? (await answerControl(deps, wider, ({ still }) => receiptOf(still)))
    if (answer instanceof Refusal) {
      // The ends of what was pruned are unknown: they receive the reason, and so do all others.
      const isNotIts = found === null && answer.code === 'NOT_PERMITTED'
      const pruned = isNotIts ? receipts.pruned(exchange) : null
      return problemReply(pruned ?? answer, context.exchange)
    }
    if (answer.receipt === null) {
      const refusal = answer.elsewhere ?? (await receipts.whyNone(exchange))
      return problemReply(refusal, context.exchange)
    }
    const type = 'application/vnd.countersign.receipt+json'
    const { receipt: body, still } = answer
    return { status: 200, headers: [['content-type', type]], body, still }
  }
}

/** The operations of connectors and serving agents, below `/v1/mesh`. */
export function meshRoutes(options: ControlOptions): readonly PathRoute<Router>[] {
  const routed = (answer: MeshAnswer): Router => {
    return async (context) => {
      const reply = await answer(options, context)
      return reply instanceof Refusal ? problemReply(reply, context.exchange) : reply
    }
  }
  return [
    ['GET /v1/mesh/state', routed(meshState)],
    ['POST /v1/mesh/endpoints', routed(meshEndpoints)],
    ['POST /v1/mesh/entries', routed(meshEntries)],
    ['POST /v1/mesh/approvals', routed(meshApprovals)],
    ['* /v1/mesh/**', routed(unknownOperation)],
  ]
}

const unparsed = { action: 'discover', operation: 'unread' } as const

type MeshAnswer = (options: ControlOptions, context: RequestContext) => Promise<Reply | Refusal>

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
    const reader = { identity: caller.principal, signal: context.signal }
    // Those who wait have a limit of their own (`mesh.stateReaders`).
    context.received.begun()
    // Each replica counts by itself, so that two states can have one sequence.
    const isOwn = (context.query.get('slot') ?? options.slot) === options.slot
    const known = isOwn ? (after ?? -1) : -1
    const bytes = await options.state.wait(known, longPollMs, reader)
    return bytes instanceof Refusal ? bytes : { ...jsonBytesReply(bytes), isShared: true, still }
  })
}

const registering: Asked = { action: 'record', operation: 'mesh.register' }
const recording: Asked = { action: 'record', operation: 'mesh.entries' }

const meshEndpoints: MeshAnswer = async (options, context) => {
  // Other agents rely on the endpoints of a name: a key or a token that may find agents, narrowed
  // or stolen, must not move one.
  const request = await admit(options, context, registering)
  if (request instanceof Refusal) return request
  const { caller: admitted } = request
  if (admitted.kind !== 'agent' || !isAssignableName(admitted.name)) {
    const detail = `${admitted.principal} is not an agent of this fabric, and does not receive`
    return refuse(options, context, registering, new Refusal('NOT_PERMITTED', detail))
  }
  const registration = parse(options, context, parseMeshRegistration)
  if (registration instanceof Refusal) return refuse(options, context, registering, registration)
  const expiresAt = context.at + registration.ttlSeconds * 1000
  const endpoints = registration.endpoints.map((endpoint) => ({
    ...endpoint,
    name: admitted.name,
    expiresAt,
  }))
  options.endpoints.register(admitted.name, registration.instance, endpoints)
  return jsonReply({ expiresAt })
}

const meshEntries: MeshAnswer = async (options, context) => {
  const request = await admit(options, context, recording)
  if (request instanceof Refusal) return request
  const { caller: admitted } = request
  const received = read(options, context, (body) => options.batches.read(parsePackedBatch(body)))
  if (received instanceof Refusal) return refuse(options, context, recording, received)
  const batch = await options.batches.accept(received, admitted, context.at)
  if (batch instanceof Refusal) return refuse(options, context, recording, batch)
  const { recorded } = batch
  if (recorded !== null) {
    batch.release(null)
    return jsonReply({ indexes: recorded.indexes, batch: recorded.index })
  }
  let committed: CommittedBatch | null = null
  try {
    const appended = await appendBatch(options, context, { request, batch })
    if (appended instanceof Refusal) return await refuse(options, context, recording, appended)
    committed = appended.committed
    return await answerBatch(options, context, appended)
  } finally {
    batch.release(committed)
  }
}

interface AppendedBatch extends Appended {
  readonly refusal: Refusal | null
}

async function appendBatch(
  options: ControlOptions,
  context: RequestContext,
  { request, batch }: { readonly request: Exchange<Authorized>; readonly batch: AcceptedBatch },
): Promise<AppendedBatch | Refusal> {
  const claim = await options.entries.claim(batch.entries, request.caller, context.at)
  if (claim instanceof Refusal) return claim
  try {
    // Claims are checked against the disk and by signatures, during which a connector can lose its
    // right.
    const lost = recheck(request, options.deps.authorization)
    if (lost !== null) return lost.beforeDelivery()
    const appended = await options.entries.record(batch, { claim, at: context.at })
    return { ...appended, refusal: claim.refusal }
  } finally {
    claim.release()
  }
}

async function answerBatch(
  options: ControlOptions,
  context: RequestContext,
  { indexes, limits, failure, committed, refusal: unclaimed }: AppendedBatch,
): Promise<Reply | Refusal> {
  const isNothing = indexes.every((index) => index === null)
  // Nothing is on record: the connector receives the cause, and not a list of nulls.
  if (isNothing && failure !== null && failure.refusal === null) throw failure.cause
  const refusal = unclaimed ?? (failure && (failure.refusal ?? refusalOfFailure(failure.cause)))
  const answer = { indexes, batch: committed?.index ?? null }
  if (refusal === null) return jsonReply(answer)
  const refused = await refuse(options, context, recording, refusal)
  // Without a record of the refusal, the connector sends its entries again; each is recorded
  // once.
  if (refused !== refusal) return refused
  const named = limits.some((limit) => limit !== null) ? { limits } : {}
  const headers = exchangeHeaders(context.exchange)
  return isNothing ? refusal : jsonReply({ ...answer, ...named }, headers)
}

const meshApprovals: MeshAnswer = async (options, context) => {
  const asked = { action: 'record', operation: 'mesh.approvals' } as const
  const request = await admit(options, context, asked)
  if (request instanceof Refusal) return request
  const claim = parse(options, context, parseMeshApprovalClaim)
  if (claim instanceof Refusal) return refuse(options, context, asked, claim)
  const answer = await options.claimApproval(claim, request.caller)
  return answer instanceof Refusal
    ? refuse(options, context, asked, answer)
    : jsonReply({ ...answer })
}

/** Refuses an admitted caller after all, under the operation that it was admitted to. */
async function refuse(
  { deps }: ControlOptions,
  context: RequestContext,
  asked: Asked,
  refusal: Refusal,
): Promise<Refusal> {
  const unchecked = uncheckedFor(context, asked, refusal)
  const { unrecorded } = await recordRefusedRequest(deps, unchecked, refusal)
  return unrecorded ?? refusal
}

function admit(
  { deps }: ControlOptions,
  context: RequestContext,
  asked: Asked,
  fault: Refusal | null = null,
): Promise<Exchange<Authorized> | Refusal> {
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
  const target = { kind: 'fabric', name: 'fabric', protocol: 'admin' } as const
  return decodedRequest(context, { ...target, ...asked }, fault)
}

function parse<T>(
  options: ControlOptions,
  context: RequestContext,
  parseValue: (value: unknown) => T,
): T | Refusal {
  return read(options, context, (body) => {
    const value = parseJsonBody(body, CONTROL_JSON_LIMITS)
    return value instanceof Refusal ? value : parseValue(value)
  })
}

function read<T>(
  { deps }: ControlOptions,
  { received: { body, client } }: RequestContext,
  readBody: (body: Uint8Array) => T | Refusal,
): T | Refusal {
  return readControl(deps, client, () => {
    try {
      return readBody(body)
    } catch (cause) {
      const isFormer = cause instanceof FormerFormatError
      const code = isFormer ? 'VERSION_UNSUPPORTED' : 'MESSAGE_MALFORMED'
      return new Refusal(code, isFormer ? cause.message : String(cause))
    }
  })
}
