import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import { RejectedError, UpstreamError } from '../lib/upstream-error.ts'
import type { Finding } from '../redaction/redactor.ts'
import type { AuthorizeDeps, Authorized } from './authorize.ts'
import type { Answered } from './deliver.ts'
import type { StreamEvent } from './delivery.ts'
import { streamEnding } from './ending.ts'
import type { Exchange } from './exchange.ts'
import { isFabricName } from './fabric-name.ts'
import type { InspectDeps } from './inspect.ts'
import type { Fields } from './inspect-fields.ts'
import { opaqueFault } from './inspect-frame.ts'
import { type InspectedParts, noParts } from './inspect-parts.ts'
import { Interruption } from './interruption.ts'
import { accountOfAnswer, inspectShared } from './large-bodies.ts'
import { withoutLineBreaks } from './line-breaks.ts'
import { maskedSummary } from './masked-summary.ts'
import { type Ending, type Intended, type RecordDeps, recordOutcome, unrecorded } from './record.ts'
import { type StatusChanges, watchStatus } from './status.ts'
import { openTranscript } from './transcript.ts'

export interface StreamDeps extends InspectDeps, RecordDeps {
  readonly authorization: AuthorizeDeps
  readonly standing: StatusChanges
}

/**
 * Inspected events in order; `next` ends with null, or with the refusal that cut the stream short.
 * The reader must either read to the end or call `abandon`, also while a `next` is pending.
 */
export interface InspectedEvents {
  /** The fields after the last event, once `next` has ended with null; absent where none pass. */
  trailers?(): Fields
  next(): Promise<IteratorResult<StreamEvent, Refusal | null>>
  /** The caller left. Resolves when the outcome is on record. */
  abandon(): Promise<void>
}

/** A stream of more events than this is an agent out of control, not a conversation. */
const eventsMax = 1_000_000
const eventsLimit = { name: 'stream.events', value: eventsMax, unit: 'count' } as const

/**
 * Passes a stream on, event by event: each is inspected whole before it is forwarded, what was
 * forwarded is hashed into the outcome, and the stream is cut when the right to go on is lost,
 * also between events. The outcome is recorded however the stream ends: by itself, by a cut, by
 * the receiver breaking off, or by the caller walking away.
 */
export function inspectedEvents(
  exchange: Exchange<Intended>,
  answered: Answered,
  source: AsyncIterable<StreamEvent>,
  deps: StreamDeps,
): InspectedEvents {
  const left = new Interruption<'left'>()
  const flow: Flow = { source, left, trailers: [] }
  const generator = pass(exchange, answered, flow, deps)
  // Only the record of the outcome throws: a stream without one must not end as if it were whole.
  const next = (): Promise<IteratorResult<StreamEvent, Refusal | null>> =>
    generator.next().catch((cause: unknown) => ({ done: true, value: unrecorded(cause) }))
  return {
    next,
    trailers: () => flow.trailers,
    async abandon() {
      left.come('left')
      // A generator that never started would skip its `finally`, and with it the outcome.
      while ((await next()).done !== true);
    },
  }
}

interface Flow {
  readonly source: AsyncIterable<StreamEvent>
  readonly left: Interruption<'left'>
  trailers: Fields
}

async function* pass(
  exchange: Exchange<Intended>,
  answered: Answered,
  flow: Flow,
  deps: StreamDeps,
): AsyncGenerator<StreamEvent, Refusal | null, undefined> {
  const watch = watchStatus(exchange, deps.authorization, deps.standing)
  const transcript = new Transcript(answered.findings, exchange.upload !== null)
  const iterator = flow.source[Symbol.asyncIterator]()
  let end: Ending['end'] = 'abandoned'
  const endBy = (refusal: Refusal): Refusal => {
    const ending = streamEnding(refusal)
    end = ending
    return ending.refusal
  }
  try {
    for (;;) {
      const next = await flow.left.or(watch.lost.or(iterator.next()))
      if (next === 'left') return null
      if (next instanceof Refusal) return endBy(next)
      // Events and the loss of standing can become ready together; the loss must win.
      const lost = watch.check()
      if (lost !== null) return endBy(lost)
      if (next.done === true) {
        const last = await transcript.inspectTrailers(answered.trailers(), deps, exchange)
        if (last instanceof Refusal) return endBy(last)
        flow.trailers = last
        end = 'completed'
        return null
      }
      const given = transcript.inspect(next.value, deps, exchange)
      // Stops waiting for the thread when the caller has left, or when its right to go on is lost.
      const inspected = given instanceof Promise ? await flow.left.or(watch.lost.or(given)) : given
      if (inspected === 'left') return null
      const refusal = watch.check() ?? inspected
      if (refusal instanceof Refusal) return endBy(refusal)
      yield transcript.add(next.value, refusal)
    }
  } catch (cause) {
    // A streamed request that may not go on ends its response with it.
    return endBy(exchange.upload?.cut?.refusal ?? brokenOff(cause))
  } finally {
    watch.close()
    // A receiver that ignores the return must not hold up the record of what happened.
    iterator.return?.().then(undefined, () => undefined)
    await recordOutcome(exchange, transcript.ending(end, answered), deps)
  }
}

/** The receiver has acted: the stream broke off, or what it sent could not be read. */
export function brokenOff(cause: unknown): Refusal {
  const detail = `the stream broke: ${String(cause)}`
  if (cause instanceof RejectedError) return cause.refusal
  if (!(cause instanceof UpstreamError)) return new Refusal('RESPONSE_REJECTED', detail)
  return new Refusal('OUTCOME_UNKNOWN', detail, null, { limit: cause.limit })
}

const opaque = 'application/octet-stream'

/** The record of what has been forwarded so far. Owned by one stream. */
class Transcript {
  readonly #hash = openTranscript()
  readonly #findings: Finding[]
  readonly #isOfFrames: boolean
  #events = 0
  #bytes = 0

  /** `findings` are those of the head, which came before any event. */
  constructor(findings: readonly Finding[], isOfFrames: boolean) {
    this.#findings = [...findings]
    this.#isOfFrames = isOfFrames
  }

  inspect(
    { data: body, contentType, frame }: StreamEvent,
    deps: InspectDeps,
    exchange: Exchange<Authorized>,
  ): InspectedParts | Refusal | Promise<InspectedParts | Refusal> {
    if (this.#events >= eventsMax) {
      return overLimit('RESPONSE_REJECTED', eventsLimit, 'events of the stream')
    }
    // Otherwise a receiver could end its stream as if the fabric had, for example as never acted or
    // as retryable.
    if (frame.some(([, value]) => isFabricName(value))) {
      return new Refusal('RESPONSE_REJECTED', 'the receiver imitates an event of the fabric')
    }
    const { obligations } = exchange.decision
    if (contentType === opaque) {
      const fault = opaqueFault({ data: body, contentType: null }, obligations)
      return fault ?? { ...noParts, findings: [] }
    }
    const parts = { ...noParts, frame, body, contentType }
    const account = { ...accountOfAnswer(exchange), isFrame: this.#isOfFrames }
    return inspectShared(deps, parts, obligations, account)
  }

  /** Fields in which something is found are left out, as those of a head are. */
  async inspectTrailers(
    fields: Fields,
    deps: InspectDeps,
    exchange: Exchange<Authorized>,
  ): Promise<Fields | Refusal> {
    if (fields.length === 0) return fields
    const { obligations } = exchange.decision
    const account = accountOfAnswer(exchange)
    const inspected = await inspectShared(deps, { ...noParts, fields }, obligations, account)
    if (inspected instanceof Refusal) return inspected
    this.#findings.push(...inspected.findings)
    return inspected.fields
  }

  /** The event as it is forwarded from here on. */
  add(event: StreamEvent, inspected: InspectedParts): StreamEvent {
    const { data: body, contentType } = event
    // Findings are only counted by class; keeping every one of a long stream would grow without
    // end.
    if (this.#findings.length < 1000) {
      this.#findings.push(...inspected.findings)
    }
    // Hashes the data in the form that every reader of the stream obtains.
    const whole = inspected.body ?? body
    const data = contentType === opaque ? whole : withoutLineBreaks(whole, contentType)
    this.#hash.add(data)
    this.#events += 1
    this.#bytes += event.data.length
    return { ...event, data, frame: inspected.frame, hasPlainBreaks: true }
  }

  ending(end: Ending['end'], answered: Answered): Ending {
    return {
      end,
      findings: this.#findings,
      bytes: this.#bytes,
      facts: {
        ...answered.facts,
        transcript: this.#hash.digest(),
        events: this.#events,
        'response.masked': maskedSummary(this.#findings),
      },
    }
  }
}
