import type { TLSSocket } from 'node:tls'
import { createExchangeId } from '@countersign/protocol'
import {
  PeerFault,
  type PeerTrust,
  peerChain,
  peerIdentity,
  tlsSocketOf,
} from '@countersign/protocol/tls'
import type { Clock } from '../../lib/clock.ts'
import { overLimit } from '../../lib/limits.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { UnauthenticatedLimits } from '../../pipeline/quota.ts'
import { createUncheckedRequest, type UncheckedRequest } from '../../pipeline/unchecked-request.ts'
import type { NodeRequest } from '../http/received-request.ts'
import type { Reply } from '../http/respond.ts'
import { problemReply } from './request-context.ts'

export interface RefusedUnparsed {
  readonly reply: Reply
  /** True if the connection proved no identity. */
  readonly isUnauthenticated: boolean
  /** True if the refusal is on record; otherwise the reply states that it is not. */
  readonly isRecorded: boolean
}

export interface UnparsedOptions {
  readonly trust: PeerTrust
  /**
   * Records a request that no router could read, and returns the reply and whether its sender was
   * identified.
   */
  refuse(unchecked: UncheckedRequest, refusal: Refusal): Promise<RefusedUnparsed>
  readonly unauthenticatedLimits: UnauthenticatedLimits
  readonly refusalsPerMinute: number
  /** The log slot, for the ids of exchanges. */
  readonly slot: string
  readonly clock: Clock
  readonly random: Random
}

/**
 * Not recorded one by one: a flood of unauthenticated clients must not be able to fill the ledger.
 */
function tooMany(perMinute: number): Refusal {
  const limit = { name: 'limits.refusalsPerMinute', value: perMinute, unit: 'per-minute' } as const
  return overLimit('RATE_LIMITED', limit, '', 60_000)
}

/**
 * Null while more requests of this connection are accepted; clients that share an agent's address
 * cannot lock it out.
 */
export function floodReply(socket: TLSSocket, options: UnparsedOptions): Reply | null {
  const { unauthenticatedLimits, trust, slot, clock, random } = options
  if (unauthenticatedLimits.admits(socket.remoteAddress ?? '')) return null
  const chain = peerChain(socket) ?? []
  const peer = peerIdentity(chain, trust.bundles, trust.now())
  if (!(peer instanceof PeerFault)) return null
  const at = clock.now()
  const exchange = createExchangeId(slot, at, random(10))
  const reply = problemReply(tooMany(options.refusalsPerMinute), exchange)
  return { ...reply, closes: true, endsConnection: true }
}

/**
 * Refuses what was not read: by the parser, by the rules of the head, or for the body's size; and
 * what was asked for without a credential, such as an enrolment, under the name of that operation.
 */
export async function refuseUnparsedRequest(
  socket: TLSSocket,
  refusal: Refusal,
  options: UnparsedOptions & { readonly operation?: string },
): Promise<Reply> {
  const flood = floodReply(socket, options)
  if (flood !== null) return flood
  const { slot, clock, random, operation = 'unread' } = options
  const at = clock.now()
  const certificateChain = peerChain(socket)
  const unchecked = createUncheckedRequest({
    at,
    id: createExchangeId(slot, at, random(10)),
    transport: 'gateway',
    presented: certificateChain && { certificateChain, bearer: null, apiKey: null },
    fault: refusal,
    target: { ...unparsedTarget, operation },
  })
  return { ...(await refuseUnchecked(socket, unchecked, options)), closes: true }
}

/** As `refuseUnparsedRequest`, for a request whose connection is still to be found. */
export async function refuseAsked(
  request: NodeRequest,
  refusal: Refusal,
  options: UnparsedOptions & { readonly operation: string },
): Promise<Reply> {
  const socket = tlsSocketOf(request)
  if (socket === null) throw new Error('the connection is gone')
  return refuseUnparsedRequest(socket, refusal, options)
}

/**
 * As `refuseAsked`, for an answer that is made elsewhere; rejects when the refusal is not on
 * record.
 */
export async function recordAsked(
  request: NodeRequest,
  refusal: Refusal,
  options: UnparsedOptions & { readonly operation: string },
): Promise<void> {
  let isRecorded = true
  await refuseAsked(request, refusal, {
    ...options,
    async refuse(unchecked, given) {
      const refused = await options.refuse(unchecked, given)
      isRecorded = refused.isRecorded
      return refused
    },
  })
  if (!isRecorded) throw new Error('the refusal is not on record')
}

/** Refuses `unchecked` for its fault, and counts it if the connection proved no identity. */
export async function refuseUnchecked(
  socket: TLSSocket,
  unchecked: UncheckedRequest,
  options: UnparsedOptions,
): Promise<Reply> {
  const { head } = unchecked
  const refused = head instanceof Refusal ? head : unchecked.fault
  const fault = refused ?? new Refusal('UNDECIDED', 'nothing is at fault')
  const { reply, isUnauthenticated } = await options.refuse(unchecked, fault)
  if (isUnauthenticated) options.unauthenticatedLimits.count(socket.remoteAddress ?? '')
  return reply
}

export const unparsedTarget = {
  kind: 'fabric',
  name: 'fabric',
  action: 'discover',
  protocol: 'http',
  operation: 'unread',
} as const
