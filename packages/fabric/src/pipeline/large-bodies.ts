import type { Refusal } from '../lib/refusal.ts'
import type { RedactionRequest, Redactor } from '../redaction/redactor.ts'
import type { Authenticated } from './authenticate.ts'
import type { Exchange } from './exchange.ts'
import { type InspectedParts, inspectParts, type Parts, sizeOfParts } from './inspect-parts.ts'
import type { LoopShare } from './loop-share.ts'

/** On whose account a message is read and inspected, and for whom. */
export interface TimeAccount {
  /**
   * The name of the agent that is charged: the caller for its request, the receiver for its
   * response.
   */
  readonly name: string
  /** On one account, the messages of each caller take turns. */
  readonly caller: string
  /**
   * True when the receiver has acted. A refusal must then neither blame it for a shortage in the
   * fabric nor claim that it has not acted.
   */
  readonly isAnswer: boolean
  /** True for a frame of a stream, which is charged by number as well as by time. */
  readonly isFrame?: boolean
  /** Aborted when the message is not wanted any more. */
  readonly left?: AbortSignal | undefined
}

export function accountOfAnswer({ caller, target, left }: Exchange<Authenticated>): TimeAccount {
  return { name: target.name, caller: caller.principal, isAnswer: true, left }
}

/** Inspects what would stop every other exchange for too long. Same results as `inspectParts`. */
export interface LargeBodies {
  readonly loop: LoopShare
  /** Waits for its turn, and refuses rather than wait without bound. */
  inspect(
    parts: Parts,
    order: RedactionRequest,
    account: TimeAccount,
  ): Promise<InspectedParts | Refusal>
}

export interface BodyRedaction {
  readonly redactor: Redactor
  /** Absent where every message is small. */
  readonly largeBodies?: LargeBodies
}

/** On the event loop where that is cheap, otherwise in the thread. */
export function inspectShared(
  { redactor, largeBodies }: BodyRedaction,
  parts: Parts,
  order: RedactionRequest,
  account: TimeAccount,
): InspectedParts | Refusal | Promise<InspectedParts | Refusal> {
  if (largeBodies === undefined) return inspectParts(parts, order, redactor)
  if (account.isFrame === true) largeBodies.loop.countFrame(account.name)
  const inspected = largeBodies.loop.run(account.name, sizeOfParts(parts), (work) =>
    inspectParts(parts, { ...order, work }, redactor),
  )
  return inspected ?? largeBodies.inspect(parts, order, account)
}

/** Reads a request to the fabric itself, on the account of its client. */
export function readControl<T>(
  { largeBodies }: Pick<BodyRedaction, 'largeBodies'>,
  client: string,
  read: () => T,
): T | Refusal {
  return largeBodies === undefined ? read() : largeBodies.loop.runControl(client, read)
}
