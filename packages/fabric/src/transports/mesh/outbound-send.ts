import type { BodyShare } from '../../budgets/body-budget.ts'
import { createDeadline, type Deadline } from '../../budgets/deadline.ts'
import { Refusal } from '../../lib/refusal.ts'
import { evicted } from '../../lib/upstream-error.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import { declinedBy, isNotSent, Undelivered, withheld } from '../../pipeline/delivery.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { cutRequest, type Upload } from '../../pipeline/upload.ts'
import { statedRefusal } from '../../protocols/http/stated-refusal.ts'
import { leadsTo, reliabilityOf } from '../../routes/routes.ts'
import type { BalancedResponse, Endpoint, UpstreamRequest } from '../../routes/upstream.ts'
import { deadlinePassed } from '../http/caller-deadline.ts'
import { undelivered } from '../http/forwarder.ts'
import type { Serving } from './outbound.ts'
import { type Answer, readAnswer, receiverOf } from './outbound-answer.ts'
import type { OutboundCopies } from './outbound-copies.ts'
import type { OutboundRequest } from './outbound-request.ts'

export interface Asked {
  readonly answer: Answer
  readonly response: BalancedResponse
  /** Still running: it ends with the body. */
  readonly deadline: Deadline
  readonly share: BodyShare
}

interface Asking {
  readonly order: OutboundRequest
  readonly admitted: Exchange<Authorized>
  readonly copies: OutboundCopies
  /** The frames of a streamed request; null of any other. */
  readonly upload: Upload | null
  readonly signal: AbortSignal
}

type Sent = Pick<UpstreamRequest, 'body' | 'still'>

/**
 * Sends the call, and reads and checks what comes back. Never rejects: the request may have left.
 */
export async function ask(
  options: Serving,
  request: Sent,
  asking: Asking,
): Promise<Asked | Undelivered> {
  const asked = await sendCopies(options, request, asking)
  const cut = asking.upload?.cut ?? null
  if (cut === null) return asked
  if (!(asked instanceof Undelivered)) {
    asked.response.discard()
    asked.deadline.end()
    asked.share.close()
  }
  return cutRequest(cut, isNotSent(asked))
}

async function sendCopies(
  options: Serving,
  request: Sent,
  { order, admitted, copies, upload, signal }: Asking,
): Promise<Asked | Undelivered> {
  const { route, classified } = order
  const share = options.answers.admit(route.name, options.agent.name)
  if (share instanceof Refusal) return declinedBy(share)
  const { callerDeadline } = order
  const wholeMs = Math.min(options.timeoutMs, reliabilityOf(route).timeouts.exchangeMs)
  // A streamed request takes as long as its caller, like a stream of events.
  const ownMs = upload === null ? wholeMs : options.streamMs
  const deadline = createDeadline(signal, ownMs, callerDeadline)
  share.onEvicted((refusal) => deadline.fail(evicted(refusal)))
  upload?.onFailure((cause) => deadline.fail(cause))
  const failed = (failure: Undelivered): Undelivered => {
    deadline.end()
    share.close()
    return failure
  }
  if (callerDeadline?.leftMs() === 0) return failed(declinedBy(deadlinePassed()))
  try {
    const sent = {
      ...copies.last.request,
      ...request,
      ...(upload === null ? {} : { stream: upload.bytes }),
      headersOf: copies.headersOf,
      isRepeatable: copies.isRepeatable,
      signal: deadline.signal,
      account: share,
      // All calls are this agent's: a slow receiver leaves connections to the gateway to others.
      owner: route.name,
      // The gateway finds the way from there itself, whatever became of it.
      leadsTo: (endpoint: Endpoint) =>
        route.prefix !== '' || leadsTo(options.findRoute(order.name), route, endpoint),
    }
    const response = await options.upstream.request(route, sent)
    // From here on, the receiver's word is its own; the gateway's is the fabric's.
    const stated =
      route.prefix === ''
        ? statedRefusal(response, receiverOf(options.agent, route.name))
        : refusedCopy(response)
    if (stated !== null) {
      response.discard()
      return failed(stated)
    }
    const { request: answeredCopy, signed } = copies.last
    const isStreamed = upload !== null
    const answered = { route, classified, admitted, isStreamed, signature: signed.signature }
    const received = { response, request: answeredCopy, share }
    const answer = await readAnswer(options, received, answered)
    if (answer instanceof Refusal) return failed(withheld(answer))
    return { answer, response, deadline, share }
  } catch (cause) {
    return failed(undelivered(cause))
  }
}

/**
 * The gateway refused the second copy of a request, as a replay or for any other reason: the first
 * had left, and may be done.
 */
function refusedCopy(response: BalancedResponse): Undelivered | null {
  const { headers, attempts, isSecondCopy } = response
  const code = headers.find(([name]) => name.toLowerCase() === 'countersign-refusal')?.[1]
  if (!isSecondCopy || code === undefined) return null
  const detail = `the first copy was sent, and the second refused: ${code}`
  return new Undelivered({ progress: 'sent', detail }, attempts)
}
