import type { BalancedResponse } from '../../routes/upstream.ts'

/**
 * States that a response has no end of its own: it was taken to the end of its connection, and a
 * part of it may be missing (docs/protocol.md, "Fields").
 */
export const unknownEndField = ['countersign-response-end', 'connection'] as const

/** The same on record. */
export const unknownEndFact = { 'response.end': 'connection' } as const

type Ended = Pick<BalancedResponse, 'headers' | 'endsByClose' | 'isProved'>

/** Reports whether the end is unknown here, or was at the connector that proved its identity. */
export function hasUnknownEnd({ headers, endsByClose, isProved }: Ended): boolean {
  if (endsByClose === true) return true
  const [field, value] = unknownEndField
  return isProved && headers.some(([name, given]) => name === field && given === value)
}
