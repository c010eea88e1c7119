import { answerBudget } from '../../budgets/answer-budget.ts'
import { BodyBudget, floorBytes } from '../../budgets/body-budget.ts'
import type { Clock } from '../../lib/clock.ts'
import { connectorHeadLimits } from '../http/unparsed.ts'

/** Request bodies at one side of a connector, which is a small process next to one agent. */
const totalBytesMax = 64 * 1024 * 1024

/**
 * Half of the budget is for one identity: the gateway forwards for many callers, and on loopback
 * there is only one.
 */
export function connectorBudget(bodyBytesMax: number, clock: Clock): BodyBudget {
  const total = Math.max(totalBytesMax, 4 * bodyBytesMax)
  return new BodyBudget({
    name: 'mesh.requestMemoryBytes',
    totalBytesMax: total,
    identityBytesMax: total / 2,
    addressBytesMax: total,
    floorBytes,
    timeoutMs: connectorHeadLimits.requestMs,
    now: () => clock.monotonic(),
  })
}

/**
 * The budget for bytes from receivers, at one side of a connector: one agent is behind it, and one
 * before it.
 */
export function connectorAnswers(
  { receiverPart, callerPart }: { readonly receiverPart: number; readonly callerPart: number },
  bodyBytesMax: number,
  clock: Clock,
): BodyBudget {
  const name = 'mesh.responseMemoryBytes'
  return answerBudget({ name, totalBytesMax, receiverPart, callerPart, bodyBytesMax, clock })
}
