import type { PresentedSignature } from '../../pipeline/unchecked-request.ts'
import { isRepeatable } from '../../routes/repeatable.ts'
import { reliabilityOf } from '../../routes/routes.ts'
import type { UpstreamRequest } from '../../routes/upstream.ts'
import { timeoutFields } from '../http/caller-deadline.ts'
import type { OutboundRequest } from './outbound-request.ts'

/** The copies of one call that leave, one after the other. */
export class OutboundCopies {
  readonly #order: OutboundRequest
  readonly #sign: () => PresentedSignature
  readonly isRepeatable: boolean
  #last: PresentedSignature

  constructor(order: OutboundRequest, first: PresentedSignature, sign: () => PresentedSignature) {
    const { route, classified, isStreamed } = order
    this.#order = order
    this.#sign = sign
    this.#last = first
    // A key does not count here: the receiver's connector inspects the call, and may drop it.
    const repeated = { ...classified, headers: [] }
    this.isRepeatable = !isStreamed && isRepeatable(repeated, reliabilityOf(route).retries)
  }

  /** The copy that left last: the one that an answer is for. */
  get last(): PresentedSignature {
    return this.#last
  }

  /**
   * A receiver refuses a nonce that it has seen, which is how it knows a copy of what may be done
   * once. A call that may be repeated has a signature for each copy.
   */
  readonly headersOf = (attempt: number): UpstreamRequest['headers'] => {
    if (attempt > 1 && this.isRepeatable) this.#last = this.#sign()
    return [...this.#last.request.headers, ...timeoutFields(this.#order.callerDeadline)]
  }
}
