import { CallerDeadline } from '../../budgets/deadline.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Head } from '../../protocols/reading/head.ts'

/**
 * The field by which a caller bounds its request, and each hop states what is left of it: whole
 * milliseconds from the arrival of the request, since clocks of two machines differ.
 */
export const TIMEOUT_FIELD = 'countersign-timeout'

/** Null without the field. Another form is refused: a receiver could read a longer time in it. */
export function readCallerDeadline({
  headers,
}: Pick<Head, 'headers'>): CallerDeadline | null | Refusal {
  const text = headers.get(TIMEOUT_FIELD)
  if (text === undefined) return null
  if (/^(?:0|[1-9]\d{0,7})$/.test(text)) return new CallerDeadline(Number(text))
  return new Refusal('MESSAGE_MALFORMED', `${TIMEOUT_FIELD} is not whole milliseconds`)
}

/** The field for the next hop. */
export function timeoutFields(deadline: CallerDeadline | null): [string, string][] {
  return deadline === null ? [] : [[TIMEOUT_FIELD, String(deadline.leftMs())]]
}

/** Nothing was sent, and nothing will be. */
export function deadlinePassed(): Refusal {
  return new Refusal(
    'RECEIVER_UNREACHABLE',
    'the deadline of the caller passed before anything was sent',
  )
}
