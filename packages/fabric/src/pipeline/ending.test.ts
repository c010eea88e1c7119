import {
  endingFault,
  REFUSALS,
  type RefusalCode,
  WITHDRAWALS,
  type WithdrawalReason,
} from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EntryDraft } from '../ledger/ledger.ts'
import { Refusal, Withdrawal } from '../lib/refusal.ts'
import { declinedBy, isNotSent, type Progress, Undelivered, withheld } from './delivery.ts'
import { loneEnding, streamEnding, undeliveredEnding, withheldEnding } from './ending.ts'
import { recordOutcome, recordRefusal, recordStreamEnd } from './record.ts'

const codes = fc.constantFrom(...(Object.keys(REFUSALS) as RefusalCode[]))
const reasons = fc.constantFrom(...(Object.keys(WITHDRAWALS) as WithdrawalReason[]))
const details = fc.string({ maxLength: 5_000 })
const limits = fc.constantFrom(null, 'work.answerWaitMs, 1 min', 'inspect.steps, 600000000')

const withdrawals = fc
  .tuple(reasons, details, fc.boolean())
  .map(([reason, detail, isBefore]) => new Withdrawal(reason, detail, isBefore))
const refusals = fc.oneof(
  fc
    .tuple(codes, details, limits)
    .map(([code, detail, limit]) => new Refusal(code, detail, null, { limit })),
  withdrawals,
)

const attempts = fc.integer({ min: 1, max: 3 })
const undelivereds = fc.oneof(
  refusals.map(declinedBy),
  fc.tuple(refusals, attempts).map(([refusal, tries]) => withheld(refusal, tries)),
  fc
    .tuple(fc.constantFrom<Progress>('not-sent', 'sent'), details, limits, attempts)
    .map(([progress, detail, limit, tries]) => {
      return new Undelivered({ progress: progress as 'sent', detail, limit }, tries)
    }),
)

const transports = fc.constantFrom('gateway', 'mesh', 'queue')

/** Returns the entries that the stage writes, by one of its functions. */
function written(transport: string) {
  const drafts: EntryDraft[] = []
  const unchecked = {
    ...{ id: 'exc_1', at: 1, transport },
    target: { kind: 'agent', name: 'r', action: 'call', protocol: 'http', operation: 'POST' },
    received: { body: new Uint8Array(0) },
  }
  unchecked.target = { ...unchecked.target, tool: '', about: {} } as never
  const caller = { name: 'c', principal: 'spiffe://a.test/agent/c', method: 'certificate' }
  const deps = {
    append: (draft: EntryDraft) => Promise.resolve(drafts.push(draft)),
    now: () => 1,
  }
  return {
    drafts,
    unchecked: unchecked as never,
    caller: caller as never,
    intended: { ...unchecked, caller, findings: [] } as never,
    deps: deps as never,
  }
}

function expectOneEnding(drafts: readonly EntryDraft[]): void {
  expect(drafts).toHaveLength(1)
  for (const { kind, facts } of drafts) expect(endingFault(kind, facts)).toBeNull()
}

const streamed = { transcript: new Uint8Array(32), events: 2, 'attested.response': 'fabric' }

describe('an exchange that a refusal ends has one ending [receipt:whatever-is-recorded]', () => {
  test('a stream, at the side that records it', () => {
    return fc.assert(
      fc.asyncProperty(refusals, transports, async (refusal, transport) => {
        const { intended, deps, drafts } = written(transport)
        const end = streamEnding(refusal)
        const ending = { end, facts: streamed, findings: [], bytes: 9 }
        await recordOutcome(intended, ending, deps)
        expectOneEnding(drafts)
        expect(end.refusal.mayHaveActed).toBe(true)
      }),
    )
  })

  test('a stream, at the side of its caller', () => {
    return fc.assert(
      fc.asyncProperty(refusals, async (refusal) => {
        const { unchecked, caller, deps, drafts } = written('mesh')
        await recordStreamEnd(unchecked, streamEnding(refusal), caller, deps)
        expectOneEnding(drafts)
      }),
    )
  })

  test('a delivery without an acceptable response', () => {
    return fc.assert(
      fc.asyncProperty(undelivereds, transports, async (undelivered, transport) => {
        const { intended, deps, drafts } = written(transport)
        const end = undeliveredEnding(undelivered)
        await recordOutcome(intended, { end, facts: {}, findings: [], bytes: 0 }, deps)
        expectOneEnding(drafts)
        // The result and the refusal agree on whether the receiver may have acted.
        expect(end.result === 'refused').toBe(!end.refusal.mayHaveActed)
      }),
    )
  })

  test('a response that its caller may not have any more', () => {
    return fc.assert(
      fc.asyncProperty(withdrawals, transports, async (lost, transport) => {
        const { intended, deps, drafts } = written(transport)
        const facts = { status: 200, 'response.digest': new Uint8Array(32) }
        const ending = { end: withheldEnding(lost), facts, findings: [], bytes: 9 }
        await recordOutcome(intended, ending, deps)
        expectOneEnding(drafts)
      }),
    )
  })

  test('a request before anything is delivered', () => {
    return fc.assert(
      fc.asyncProperty(refusals, transports, async (refusal, transport) => {
        const { unchecked, caller, deps, drafts } = written(transport)
        await recordRefusal(unchecked, refusal, caller, deps)
        expectOneEnding(drafts)
        expect(loneEnding(refusal).result === null).toBe(!refusal.mayHaveActed)
      }),
    )
  })
})

test('an ending that contradicts itself is recorded as unknown, and its caller receives no other', async () => {
  const contradictions = [
    { end: 'delivered', facts: { transcript: new Uint8Array(32) } },
    { end: 'delivered', facts: { code: 'WITHDRAWN' } },
    { end: 'delivered', facts: { progress: 'not-sent' } },
    { end: 'completed', facts: {} },
    { end: 'abandoned', facts: { code: 'NOT_PERMITTED' } },
    { end: 'unobserved', facts: { status: 200 } },
    { end: streamEnding(new Refusal('UNDECIDED', '')), facts: { progress: 'sent' } },
  ] as const
  for (const { end, facts } of contradictions) {
    const { intended, deps, drafts } = written('gateway')
    const outcome = recordOutcome(intended, { end, facts, findings: [], bytes: 0 }, deps)
    await expect(outcome).rejects.toThrow('contradicts itself')
    expectOneEnding(drafts)
    expect(drafts[0]).toMatchObject({ kind: 'indeterminate', facts: { result: 'unknown' } })
  }
})

test('a request that its receiver states not to have processed is not sent, by that word', () => {
  const stated = { progress: 'not-sent', detail: 'd', isStated: true } as const
  const ending = undeliveredEnding(new Undelivered(stated))
  expect(ending.refusal.code).toBe('RECEIVER_UNREACHABLE')
  expect(ending.facts).toMatchObject({ result: 'refused', 'stated.by': 'receiver' })
  expect(ending.facts).not.toHaveProperty('progress')
  expect(isNotSent(new Undelivered(stated))).toBe(false)
})
