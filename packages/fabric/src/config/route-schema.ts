import { ROUTE_BOUNDS, routeOperationFault, routeOperationsMax } from '@countersign/protocol'
import { z } from 'zod'

const { timeouts, retries, breaker, streams } = ROUTE_BOUNDS

interface Whole {
  readonly min: number
  readonly max: number
  readonly byDefault: number
}

const whole = ({ min, max, byDefault }: Whole, meaning: string) =>
  z.int().min(min).max(max).default(byDefault).describe(meaning)

/** One entry of `routes`: the settings of `RouteReliability`, with its bounds and defaults. */
export const routeSchema = z.strictObject({
  timeouts: z
    .strictObject({
      connectMs: whole(timeouts.connectMs, 'To open a connection to one endpoint.'),
      firstByteMs: whole(
        timeouts.firstByteMs,
        'From the last byte of the request to the head of the response.',
      ),
      tryMs: whole(timeouts.tryMs, 'One attempt, until the head of its response.'),
      exchangeMs: whole(
        timeouts.exchangeMs,
        'All attempts together; at most `limits.upstreamTimeoutMs`.',
      ),
      streamIdleMs: whole(
        timeouts.streamIdleMs,
        'Silence within a response that has begun; a stream also ends after `limits.streamMs`.',
      ),
    })
    .prefault({}),
  retries: z
    .strictObject({
      attempts: whole(retries.attempts, 'Attempts of one exchange, the first one included.'),
      resend: z
        .boolean()
        .default(false)
        .describe('Permits another attempt after a byte was sent, for what is idempotent.'),
      idempotencyKey: z
        .boolean()
        .default(false)
        .describe('The receiver honours `Idempotency-Key`: such requests count as idempotent.'),
      operations: z
        .array(
          z.string().superRefine((text, { addIssue }) => {
            const fault = routeOperationFault(text)
            if (fault !== null) addIssue(fault)
          }),
        )
        .max(routeOperationsMax)
        .default([])
        .describe('Further idempotent operations: `"tools/list"`, or `"tools/call <tool>"`.'),
      backoffMs: whole(retries.backoffMs, 'Longest pause before the first repeat; it doubles.'),
      backoffMaxMs: whole(retries.backoffMaxMs, 'Longest pause before any repeat.'),
      retryAfterMaxMs: whole(
        retries.retryAfterMaxMs,
        'A receiver that asks for a longer pause is not sent the request again.',
      ),
      budgetPercent: whole(
        retries.budgetPercent,
        'Repeats under way, in percent of the requests under way on the route.',
      ),
      budgetMin: whole(retries.budgetMin, 'Repeats that may be under way in any case.'),
    })
    .prefault({}),
  breaker: z
    .strictObject({
      failures: whole(breaker.failures, 'Failures in a row that eject an endpoint.'),
      successPercent: whole(
        breaker.successPercent,
        'Fewer successes than this within `windowMs` eject an endpoint as well; 0 for none.',
      ),
      minRequests: whole(
        breaker.minRequests,
        'Results within `windowMs` from which on `successPercent` decides.',
      ),
      windowMs: whole(breaker.windowMs, 'The time over which successes are counted.'),
      ejectMs: whole(breaker.ejectMs, 'The first ejection; each further one is twice as long.'),
      ejectMaxMs: whole(breaker.ejectMaxMs, 'The longest ejection.'),
      ejectedPercent: whole(
        breaker.ejectedPercent,
        'The share of the endpoints that may be ejected; 100 closes a route with one endpoint.',
      ),
    })
    .prefault({}),
  streams: z
    .strictObject({
      permit: z
        .enum(['response', 'request', 'both'])
        .default('response')
        .describe('Streams of the route besides responses of events: requests, or both ways.'),
      frameBytes: whole(streams.frameBytes, 'One frame of a streamed request.'),
      frames: whole(streams.frames, 'Frames of one streamed request.'),
      bytes: whole(streams.bytes, 'All frames of one streamed request together.'),
      idleMs: whole(streams.idleMs, 'Until the next frame of a streamed request has come whole.'),
    })
    .prefault({}),
})
