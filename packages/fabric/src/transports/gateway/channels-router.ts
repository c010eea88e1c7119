import {
  CHANNEL_FRAMES_TYPE,
  encodeFrames,
  encodeLeases,
  encodePublishAnswer,
  encodeSettlementAnswer,
  encodeSignedDescriptor,
  hasFormerVerdicts,
  isAssignableName,
  parseLeaseRequest,
  parseSettlement,
  type Settlement,
} from '@countersign/protocol'
import type { Channels, Settled } from '../../channels/channels.ts'
import type { Hold } from '../../channels/lease-memory.ts'
import type { ChannelCall, LeasedMessages } from '../../channels/leasing.ts'
import type { Participant } from '../../channels/membership.ts'
import { decodePublish } from '../../channels/publish-decoding.ts'
import { QUEUE_WIRE } from '../../channels/wire.ts'
import type { FactValue } from '../../ledger/ledger.ts'
import { Refusal } from '../../lib/refusal.ts'
import { admitControl, answerControl } from '../../pipeline/control.ts'
import type { Delivered, Forwarder, LocalReceiver } from '../../pipeline/delivery.ts'
import { enforce, type PipelineDeps } from '../../pipeline/enforce.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import type { Inspected } from '../../pipeline/inspect.ts'
import { mayReceive } from '../../pipeline/recheck.ts'
import { SenderRights, type SentMessage } from '../../pipeline/sender-right.ts'
import type { Target } from '../../pipeline/unchecked-request.ts'
import type { PolicyAction } from '../../policy/policy.ts'
import { exchangeHeaders, quotaHeaders } from '../http/call.ts'
import type { PathRoute } from '../http/path-routes.ts'
import type { Reply } from '../http/respond.ts'
import {
  decodedRequest,
  integerIn,
  jsonReply,
  problemReply,
  type RequestContext,
  type Router,
} from './request-context.ts'

export interface ChannelsRouterOptions {
  readonly deps: PipelineDeps
  /** Asked for each request: a process can begin to serve channels. */
  channels(): Channels
}

interface Serving {
  readonly deps: PipelineDeps
  readonly channels: Channels
  readonly senders: SenderRights
}

type Answer = (options: Serving, context: RequestContext, channel: string) => Promise<Reply>

/** Sealed messages in and out, below `/v1/channels`. Sealed messages stay sealed here. */
export function channelsRoutes(options: ChannelsRouterOptions): readonly PathRoute<Router>[] {
  const { deps } = options
  const senders = new SenderRights(deps.authorization)
  const routed = (answer: Answer): Router => {
    return (context) => {
      const { channel = '' } = context.segments
      return isAssignableName(channel)
        ? answer({ deps, channels: options.channels(), senders }, context, channel)
        : unknown(context)
    }
  }
  const unknown: Router = async (context) => {
    const refusal = new Refusal('OPERATION_UNKNOWN', context.path)
    const target = targetOf('unknown', 'discover', 'unread')
    const answer = await admitControl(options.deps, decodedRequest(context, target, refusal))
    return refused(answer instanceof Refusal ? answer : refusal, context.exchange)
  }
  return [
    ['POST /v1/channels/:channel/messages', routed(publish)],
    ['POST /v1/channels/:channel/leases', routed(lease)],
    ['POST /v1/channels/:channel/settlements', routed(settle)],
    ['GET /v1/channels/:channel', routed(describe)],
    ['GET /v1/channels/:channel/', routed(describe)],
    ['GET /v1/channels/:channel/keys', routed(keys)],
    ['POST /v1/channels/:channel/keys', routed(putKey)],
    ['* /v1/channels/**', unknown],
  ]
}

function publish({ deps, channels }: Serving, context: RequestContext, channel: string) {
  const decoded = decodePublish(context.received.body)
  const target = targetOf(channel, 'publish', 'publish')
  if (decoded instanceof Refusal) return exchange(deps, context, target, decoded)
  const [labels, ...otherLabels] = decoded.labelSets
  return exchange(
    deps,
    context,
    { ...target, labels, otherLabels },
    {
      async check(inspected) {
        const sender = participantOf(channel, inspected)
        const verified = await channels.checks.publish(sender, decoded)
        if (verified instanceof Refusal) return verified
        return async (_, still) => {
          const answer = await channels.publish({ ...sender, still }, verified)
          if (answer instanceof Refusal) return answer
          const stored = answer.results.filter(({ state }) => state === 'stored').length
          return delivered(encodePublishAnswer(answer), 'application/json', {
            messages: decoded.messages.length,
            stored,
            epoch: answer.epoch,
          })
        }
      },
    },
  )
}

function lease({ deps, channels, senders }: Serving, context: RequestContext, channel: string) {
  const request = parseLeaseRequest(context.received.body)
  const target = targetOf(channel, 'consume', 'lease')
  if (request === null) return exchange(deps, context, target, malformed('lease'))
  return inHold((keep) => {
    const forwarder: Forwarder = async (intended, still) => {
      const { caller, signed } = intended
      const call = {
        ...{ channel, still, caller: caller.name },
        proof: `${caller.method} ${signed} ${caller.onBehalfOf?.user ?? ''}`,
        policyVersion: () => deps.authorization.policy().version,
        mayReceive: (labels: readonly string[]) => mayReceive(intended, labels, deps.authorization),
        senderRight: (message: SentMessage) => senders.of(message),
      }
      const leased = await channels.lease(call, request, context.signal)
      if (leased instanceof Refusal) return leased
      keep(leased.hold)
      return { ...deliveredLease(leased), withheld: leased.giveBack }
    }
    return exchange(deps, context, target, {
      check: async (inspected) =>
        channels.checks.member(participantOf(channel, inspected)) ?? forwarder,
    })
  })
}

/** Releases the holds of `work` when the response has left, even if that is a refusal after all. */
async function inHold(work: (keep: (hold: Hold) => void) => Promise<Reply>): Promise<Reply> {
  const holds: Hold[] = []
  const release = () => {
    for (const hold of holds) hold.release()
  }
  try {
    return { ...(await work((hold) => holds.push(hold))), release }
  } catch (cause) {
    release()
    throw cause
  }
}

function deliveredLease({ messages, hold, withheld, deadLettered }: LeasedMessages): Delivered {
  const frames = messages.map(({ message, ...rest }) => ({ ...rest, ...message }))
  const facts = {
    messages: messages.length,
    offsets: messages.map(({ message }) => message.offset).join(' '),
    // Because of what their senders may or may not do by now.
    ...(withheld > 0 ? { 'messages.held': withheld } : {}),
    ...(deadLettered.length > 0 ? { 'offsets.dead': deadLettered.join(' ') } : {}),
  }
  const body = encodeLeases(frames)
  // From here on, only what the response carries is kept.
  hold.keep(body.length)
  return delivered(body, CHANNEL_FRAMES_TYPE, facts)
}

function settle({ deps, channels }: Serving, context: RequestContext, channel: string) {
  const settlement = parseSettlement(context.received.body)
  const target = targetOf(channel, 'consume', 'settle')
  if (settlement === null) {
    return exchange(deps, context, target, settlementFault(context.received.body))
  }
  return exchange(deps, context, target, {
    async check(inspected) {
      const receiver = participantOf(channel, inspected)
      const verified = await channels.checks.settlement(receiver, settlement)
      if (verified instanceof Refusal) return verified
      const receives = (labels: readonly string[]) =>
        mayReceive(inspected, labels, deps.authorization)
      return async (_, still) => {
        const answer = await channels.settle({ ...receiver, still, mayReceive: receives }, verified)
        if (answer instanceof Refusal) return answer
        const body = encodeSettlementAnswer(answer.settled)
        return delivered(body, 'application/json', settledFacts(settlement, answer))
      }
    },
  })
}

/**
 * Counts the settled items by verdict, and those not settled. The receiver's statement that it
 * opened the messages covers every item of its request, also those that it did not hold: without
 * one that it held, the record of it would be taken for an acknowledgement.
 */
function settledFacts(
  { group, items, countersignature, signingKeyId }: Settlement,
  { settled, countersigned }: Settled,
): Readonly<Record<string, FactValue>> {
  const became = (i: number) => (settled[i] === true ? items[i]?.verdict : 'lost')
  const count = settled.filter(Boolean).length
  const facts: Record<string, FactValue> = { group, messages: items.length, settled: count }
  for (const ending of ['ack', 'nack', 'reject', 'lost'] as const) {
    const those = items.filter((_, i) => became(i) === ending)
    if (those.length > 0) facts[`settled.${ending}`] = those.map(({ offset }) => offset).join(' ')
  }
  return {
    ...facts,
    ...(count === 0
      ? {}
      : {
          'ack.countersignature': countersignature,
          'ack.countersigned': countersigned,
          'ack.key-id': signingKeyId,
        }),
  }
}

async function describe(options: Serving, context: RequestContext, channel: string) {
  const epoch = epochOf(context)
  return control(options, context, { channel, action: 'discover' }, async (call) => {
    if (epoch instanceof Refusal) return epoch
    const signed = await options.channels.describe(call, epoch)
    if (signed instanceof Refusal) return signed
    return bytesReply(encodeSignedDescriptor(signed), 'application/json')
  })
}

function keys(options: Serving, context: RequestContext, channel: string) {
  const epoch = epochOf(context)
  return inHold((keep) =>
    control(options, context, { channel, action: 'discover' }, async (call) => {
      if (epoch instanceof Refusal) return epoch
      const logged = await options.channels.keys(call, epoch ?? 0)
      if (logged instanceof Refusal) return logged
      keep(logged.hold)
      const body = encodeFrames(logged.keys)
      logged.hold.keep(body.length)
      return bytesReply(body, CHANNEL_FRAMES_TYPE)
    }),
  )
}

async function putKey(options: Serving, context: RequestContext, channel: string) {
  return control(options, context, { channel, action: 'publish' }, async (call) => {
    const refusal = await options.channels
      .putKey(call, context.received.body)
      // A refusal is returned. A call that throws may have stored the key.
      .catch((cause: unknown) => new Refusal('OUTCOME_UNKNOWN', String(cause)))
    return refusal ?? jsonReply({})
  })
}

function epochOf(context: RequestContext): number | null | Refusal {
  const epoch = integerIn(context, 'epoch')
  return typeof epoch === 'number' && epoch <= 0 ? null : epoch
}

/**
 * Descriptors and wrapped keys carry no message: permitted like the rest, recorded when refused.
 */
async function control(
  { deps }: Serving,
  context: RequestContext,
  { channel, action }: { readonly channel: string; readonly action: PolicyAction },
  carryOut: (call: ChannelCall) => Promise<Reply | Refusal>,
): Promise<Reply> {
  const unchecked = decodedRequest(context, targetOf(channel, action, `${action}.channel`))
  const reply = await answerControl(deps, unchecked, async ({ caller, still }) => {
    const carried = await carryOut({ channel, caller: caller.name, still })
    return carried instanceof Refusal ? carried : { ...carried, still }
  })
  return reply instanceof Refusal ? refused(reply, context.exchange) : reply
}

async function exchange(
  deps: PipelineDeps,
  context: RequestContext,
  target: Target,
  receiver: LocalReceiver | Refusal,
): Promise<Reply> {
  const fault = receiver instanceof Refusal ? receiver : null
  const checked: LocalReceiver = {
    async check(inspected) {
      const forwarder = receiver instanceof Refusal ? receiver : await receiver.check(inspected)
      if (forwarder instanceof Refusal) return forwarder
      return (intended, still) => {
        context.received.begun()
        return forwarder(intended, still)
      }
    },
  }
  const outcome = await enforce(deps, decodedRequest(context, target, fault), checked)
  if (outcome.refusal !== null) return refused(outcome.refusal, context.exchange)
  const { answer, body, still } = outcome
  if (!(body instanceof Uint8Array)) throw new TypeError('a channel answers whole')
  const headers = [
    ...answer.headers,
    ...exchangeHeaders(context.exchange),
    ...quotaHeaders(answer.quota),
  ]
  return { status: answer.status, headers, body, still }
}

function participantOf(channel: string, { caller }: Exchange<Inspected>): Participant {
  return { channel, caller: caller.name }
}

function targetOf(name: string, action: PolicyAction, operation: string): Target {
  return { kind: 'channel', name, action, protocol: 'queue', operation, tool: '', labels: [] }
}

function delivered(
  body: Uint8Array,
  contentType: string,
  facts: Readonly<Record<string, FactValue>>,
): Delivered {
  const headers = [['content-type', contentType]] as const
  return { status: 200, headers, contentType, body, countersignature: null, facts }
}

function bytesReply(body: Uint8Array, contentType: string): Reply {
  return {
    status: 200,
    headers: [
      ['content-type', contentType],
      ['cache-control', 'no-store'],
    ],
    body,
  }
}

/** A refusal in the queue's own words: what becomes of the message stands in a header. */
function refused(refusal: Refusal, exchange: string): Reply {
  const { status, disposition } = QUEUE_WIRE[refusal.code]
  const reply = problemReply(refusal, exchange)
  return { ...reply, status, headers: [...reply.headers, ['countersign-disposition', disposition]] }
}

function settlementFault(body: Uint8Array): Refusal {
  if (!hasFormerVerdicts(body)) return malformed('settlement')
  const detail = 'verdicts are ack, nack and reject, not done, retry and dead: update the client'
  return new Refusal('VERSION_UNSUPPORTED', detail)
}

function malformed(what: string): Refusal {
  return new Refusal('MESSAGE_MALFORMED', `not a ${what} request`)
}
