import type { Refusal } from '../lib/refusal.ts'
import type { RedactionOrder, Redactor } from '../redaction/redactor.ts'
import { type InspectedParts, inspectParts, type Parts, sizeOfParts } from './inspect-parts.ts'
import type { LoopShare } from './loop-share.ts'

/** Inspects what would stop every other exchange for too long. Same results as `inspectParts`. */
export interface LargeBodies {
  readonly loop: LoopShare
  /** `client` is the account that the time is charged to; refuses rather than wait without bound. */
  inspect(parts: Parts, order: RedactionOrder, client: string): Promise<InspectedParts | Refusal>
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
  order: RedactionOrder,
  client: string,
): InspectedParts | Refusal | Promise<InspectedParts | Refusal> {
  if (largeBodies === undefined) return inspectParts(parts, order, redactor)
  const inspected = largeBodies.loop.run(client, sizeOfParts(parts), (work) =>
    inspectParts(parts, { ...order, work }, redactor),
  )
  return inspected ?? largeBodies.inspect(parts, order, client)
}

/** Reads a request to the fabric itself, on the account of its client. */
export function readControl<T>(
  { largeBodies }: Pick<BodyRedaction, 'largeBodies'>,
  client: string,
  read: () => T,
): T | Refusal {
  return largeBodies === undefined ? read() : largeBodies.loop.runControl(client, read)
}
