import {
  isRefusalCode,
  isWithdrawalReason,
  mayHaveActed,
  parseLimitText,
  parseUtf8,
  REFUSALS,
} from '@countersign/protocol'
import type { BodyShare } from '../../budgets/body-budget.ts'
import { Refusal, StatedRefusal, Withdrawal } from '../../lib/refusal.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import type { StreamEvent } from '../../pipeline/delivery.ts'
import { type IntendedEnding, streamEnding } from '../../pipeline/ending.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { isFabricName } from '../../pipeline/fabric-name.ts'
import type { FrameCutter } from '../../pipeline/frames.ts'
import type { Fields } from '../../pipeline/inspect-fields.ts'
import { Interruption } from '../../pipeline/interruption.ts'
import { unrecordedAs } from '../../pipeline/record.ts'
import { watchStatus } from '../../pipeline/status.ts'
import { brokenOff, type InspectedEvents } from '../../pipeline/stream.ts'
import type { Upload } from '../../pipeline/upload.ts'
import { type ContentSource, readEvent } from '../../protocols/answer-content.ts'
import { FrameReader } from '../../protocols/frame-reader.ts'
import { EventReader } from '../../protocols/http/sse.ts'
import { readStatement } from '../../protocols/http/stated-refusal.ts'
import type { UpstreamResponse } from '../../routes/upstream.ts'
import { readTrailers } from '../http/response-head.ts'

/**
 * The refusal with which the other side cut the stream; that side has already sent it to its
 * JSON-RPC client.
 */
export class ReportedRefusal {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    this.refusal = refusal
  }
}

export interface OutboundStream {
  readonly deps: Pick<PipelineDeps, 'authorization' | 'standing'>
  readonly admitted: Exchange<Authorized>
  readonly response: UpstreamResponse
  /** Counts the bytes held of it. */
  readonly share: BodyShare
  /** Gives the receiver's stream up. */
  fail(refusal: Refusal): void
  /** Cuts it into frames; null for one of events. */
  readonly frames: FrameCutter | null
  /** The request, where it is streamed as well: both end together. */
  readonly upload: Upload | null
  /** By which its events are read; the receiver has the account. */
  readonly source: ContentSource
  /** The receiver whose connector sent it; null where it came by the gateway. */
  readonly receiver: string | null
  /** Puts a cut of this side on record. */
  record(ending: IntendedEnding): Promise<void>
  /** The stream is over, however it ended. */
  ended(): void
}

/**
 * The events of a stream on their way to the agent that called. They were inspected on the other
 * side; here the right to go on is re-checked with each of them, and an event in the name of the
 * fabric is passed on in our own words or not at all. `ended` is called with a refusal that the
 * other side sent.
 */
export function outboundEvents(
  stream: OutboundStream,
  ended: (told: ReportedRefusal) => void,
): InspectedEvents {
  const left = new Interruption<'left'>()
  const flow: Flow = { left, trailers: [] }
  const generator = pass(stream, flow, ended)
  return {
    next: () => generator.next(),
    trailers: () => flow.trailers,
    async abandon() {
      left.come('left')
      while ((await generator.next()).done !== true);
    },
  }
}

interface Flow {
  readonly left: Interruption<'left'>
  trailers: Fields
}

async function* pass(
  stream: OutboundStream,
  flow: Flow,
  ended: (told: ReportedRefusal) => void,
): AsyncGenerator<StreamEvent, Refusal | null, undefined> {
  const { deps, admitted, response, share, fail, receiver, record, ended: over } = stream
  const { left } = flow
  const watch = watchStatus(admitted, deps.authorization, deps.standing)
  const { frames } = stream
  const iterator =
    frames === null
      ? new EventReader(response.body, share)
      : new FrameReader(response.body, share, frames)
  share.onEvicted((refusal) => {
    fail(refusal)
    iterator.drop()
  })
  const cut = async (refusal: Refusal): Promise<Refusal> => {
    const ending = streamEnding(refusal)
    return await record(ending).then(
      () => ending.refusal,
      // Without a record there is still an end: the stream must not look whole.
      (cause: unknown) => unrecordedAs(ending.refusal, cause),
    )
  }
  try {
    for (;;) {
      const next = await left.or(watch.lost.or(iterator.next()))
      if (next === 'left') return null
      const lost = next instanceof Refusal ? next : watch.check()
      if (lost !== null) return await cut(lost)
      if (next instanceof Refusal) return null
      if (next.done === true) {
        if (frames !== null) flow.trailers = readTrailers(response.trailers?.() ?? [])
        return null
      }
      const told = readTold(next.value, receiver)
      if (told instanceof Refusal) return await cut(told)
      if (told === null) {
        const reading = readFrame(next.value, stream.source)
        const kind = await left.or(watch.lost.or(reading))
        if (kind === 'left') return null
        if (kind instanceof Refusal) return await cut(kind)
        if (kind === 'decoded') return await cut(otherText())
        yield next.value
        continue
      }
      ended(told)
      return receiver === null ? told.refusal : await cut(told.refusal)
    }
  } catch (cause) {
    // A streamed request that may not go on ends its response with it.
    return await cut(stream.upload?.cut?.refusal ?? brokenOff(cause))
  } finally {
    watch.close()
    response.discard()
    iterator.drop()
    over()
  }
}

/** Nothing is read in bytes without a form, for which policy required nothing. */
function readFrame(
  event: StreamEvent,
  source: ContentSource,
): ReturnType<typeof readEvent> | Promise<'same'> {
  if (event.contentType === 'application/octet-stream') return Promise.resolve('same')
  return readEvent(event, source)
}

/** Inspection on the other side leaves no text that readers would still have to decode. */
function otherText(): Refusal {
  return new Refusal('RESPONSE_REJECTED', 'an event of which readers make two texts')
}

/**
 * Null for an event of the receiver. An event in the name of the fabric is the other side's word on
 * how the stream ended, or an imitation, which is refused by this side.
 */
function readTold(event: StreamEvent, receiver: string | null): ReportedRefusal | Refusal | null {
  if (!event.frame.some(([, value]) => isFabricName(value))) return null
  const rejected = new Refusal('RESPONSE_REJECTED', 'the receiver imitates an event of the fabric')
  const [frame, ...others] = event.frame
  if (others.length > 0 || frame?.join(':') !== 'event:countersign-refusal') return rejected
  const { code, reason, limit } = membersOf(event)
  if (!isRefusalCode(code)) return rejected
  // The receiver had the request when its stream began; no later statement of the receiver can undo
  // that.
  if (receiver !== null) {
    const stated = REFUSALS[code].retry ? rejected : readStatement(code, receiver)
    const isRejected = stated.code === 'RESPONSE_REJECTED' && !(stated instanceof StatedRefusal)
    return isRejected ? stated : new ReportedRefusal(stated)
  }
  const detail = `reported by the gateway: ${code}`
  if (code === 'WITHDRAWN' && isWithdrawalReason(reason)) {
    return new ReportedRefusal(new Withdrawal(reason, detail))
  }
  // Another code would imply to the caller that nothing was delivered.
  const known = mayHaveActed(code) ? code : 'OUTCOME_UNKNOWN'
  const named = typeof limit === 'string' ? parseLimitText(limit) : null
  return new ReportedRefusal(new Refusal(known, detail, null, { limit: named }))
}

/** The fabric writes a refusal in fewer bytes; more would be parsed here at the cost of others. */
const toldBytesMax = 8 * 1024

function membersOf(event: StreamEvent): Readonly<Record<string, unknown>> {
  if (event.data.length > toldBytesMax) return {}
  try {
    const value: unknown = JSON.parse(parseUtf8(event.data))
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
