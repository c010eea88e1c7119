import { endingFault, mayHaveActed, REFUSALS, type RefusalCode } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StatedRefusal } from '../../lib/refusal.ts'
import { refusalOf } from '../../pipeline/delivery.ts'
import { loneEnding, streamEnding, undeliveredEnding } from '../../pipeline/ending.ts'
import { statedRefusal } from './stated-refusal.ts'

const receiver = 'spiffe://example.test/agent/shop'
const codes = Object.keys(REFUSALS) as RefusalCode[]

const header = fc.tuple(
  fc.constantFrom(
    'countersign-refusal',
    'Countersign-Refusal',
    'countersign-may-have-acted',
    'countersign-limit',
    'countersign-exchange',
    'countersign-withdrawal',
    'retry-after',
  ),
  fc.oneof(fc.constantFrom<string>(...codes, 'false', '1', 'limits.bodyBytes, 4 MiB'), fc.string()),
)

test('every refusal that a receiver states reaches its caller marked as possibly acted on', () => {
  fc.assert(
    fc.property(fc.array(header), fc.integer({ min: 1, max: 3 }), (headers, attempts) => {
      const told = statedRefusal({ status: 403, headers, attempts }, receiver)
      const named = headers.some(([name]) => name.toLowerCase() === 'countersign-refusal')
      expect(told !== null).toBe(named)
      if (told === null) return
      const refusal = refusalOf(told)
      expect(told.failure.progress).not.toBe('not-sent')
      expect(refusal.mayHaveActed).toBe(true)
      expect(refusal.retryAfterMs).toBeNull()
      expect(refusal instanceof StatedRefusal || mayHaveActed(refusal.code)).toBe(true)
    }),
  )
})

/**
 * The replacements of all codes that are not passed on as the receiver's own statement; see
 * docs/refusals.md.
 */
const others: Partial<Readonly<Record<RefusalCode, RefusalCode>>> = {
  MESSAGE_REPLAYED: 'OUTCOME_UNKNOWN',
  OUTCOME_UNKNOWN: 'OUTCOME_UNKNOWN',
  CREDENTIAL_SPENT: 'RESPONSE_REJECTED',
  EXCHANGE_UNKNOWN: 'RESPONSE_REJECTED',
  EXCHANGE_ERASED: 'RESPONSE_REJECTED',
  ENTRIES_PRUNED: 'RESPONSE_REJECTED',
  EXCHANGE_ELSEWHERE: 'RESPONSE_REJECTED',
  CURSOR_UNKNOWN: 'RESPONSE_REJECTED',
  EXCHANGE_OPEN: 'RESPONSE_REJECTED',
  EPOCH_STALE: 'RESPONSE_REJECTED',
  CHANNEL_FULL: 'RESPONSE_REJECTED',
  LEASE_LOST: 'RESPONSE_REJECTED',
  IDEMPOTENCY_CONFLICT: 'RESPONSE_REJECTED',
}

test.each(codes)('a receiver that states %s has at most its own word for it', (code) => {
  const headers = [['countersign-refusal', code]] as const
  const told = statedRefusal({ status: 403, headers, attempts: 1 }, receiver)
  if (told === null) throw new Error('the statement was overlooked')
  const refusal = refusalOf(told)
  expect(refusal.mayHaveActed).toBe(true)
  // As an answer and in a stream, it goes on record with the one ending that it has.
  for (const { facts } of [undeliveredEnding(told), streamEnding(refusal), loneEnding(refusal)]) {
    expect(endingFault('refusal', facts)).toBeNull()
  }
  const other = others[code]
  if (other === undefined) expect(refusal).toMatchObject({ code, statedBy: receiver })
  else expect(refusal.code).toBe(other)
  expect(refusal instanceof StatedRefusal).toBe(other === undefined)
})

test('the approval that a receiver waits for is named to the caller, in its one form', () => {
  const id = `apr_${'0'.repeat(12)}7${'0'.repeat(3)}8${'0'.repeat(15)}`
  const approvalIn = (...fields: readonly string[]) => {
    const approvals = fields.map((field) => ['countersign-approval', field] as const)
    const headers = [['countersign-refusal', 'APPROVAL_PENDING'] as const, ...approvals]
    const told = statedRefusal({ status: 409, headers, attempts: 1 }, receiver)
    if (told === null) throw new Error('the statement was overlooked')
    return refusalOf(told).approval
  }
  expect(approvalIn(`${id}; expires=1795000000`)).toEqual({
    ...{ id, digest: null, expiresAt: 1_795_000_000_000 },
  })
  for (const field of [id, `${id}; expires=soon`, `${id}; expires=1; expires=2`, 'approve me']) {
    expect(approvalIn(field)).toBeNull()
  }
  expect(approvalIn(`${id}; expires=1`, `${id}; expires=2`)).toBeNull()
})
