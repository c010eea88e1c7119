import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FactValue } from '../log/leaf.ts'
import { EXCHANGE_RESULTS, endingOf } from '../log/receipt-ending.ts'
import { ATTESTORS, type ClaimedEntry, checkClaims } from './receipt-claims.ts'
import { ReceiptError } from './receipt-error.ts'

type Facts = Readonly<Record<string, FactValue>>

const producer = 'spiffe://acme.test/agent/pay'
const asked = {
  ...{ protocol: 'a2a', operation: 'SendMessage', receiver: 'pay' },
  caller: 'spiffe://acme.test/agent/invoice',
}
const intent: Facts = { ...asked, transport: 'gateway', 'attested.request': 'fabric' }
const outcome: Facts = { result: 'delivered', 'attested.response': 'fabric' }
const ofConnector = { transport: 'mesh', producer }
const meshIntent: Facts = { ...asked, ...ofConnector, 'attested.request': 'connector' }
const meshOutcome: Facts = { ...ofConnector, result: 'delivered', 'attested.response': 'connector' }

const entry = (kind: ClaimedEntry['kind'], facts: Facts): ClaimedEntry => ({
  ...{ kind, facts },
  withheld: [],
})

function faultOf(...entries: readonly ClaimedEntry[]): string | null {
  try {
    checkClaims(entries, 'acme.test')
    return null
  } catch (error) {
    if (error instanceof ReceiptError) return error.code
    throw error
  }
}

const exchange = (opening: Facts, closing: Facts, kind: ClaimedEntry['kind'] = 'outcome') =>
  faultOf(entry('intent', opening), entry(kind, closing))

describe('claims of a receipt', () => {
  test('hold for the fabric, for a connector, and for what the fabric closed for one', () => {
    expect(exchange(intent, outcome)).toBeNull()
    expect(exchange(meshIntent, meshOutcome)).toBeNull()
    expect(exchange(meshIntent, { result: 'unknown' }, 'indeterminate')).toBeNull()
  })

  test('hold for an exchange that was handed over unobserved, with nothing of an end', () => {
    const unobserved = { result: 'unobserved' }
    expect(exchange(intent, unobserved)).toBeNull()
    for (const end of [
      { code: 'OUTCOME_UNKNOWN' },
      { code: 'NOT_PERMITTED' },
      { progress: 'sent' },
      { status: 200 },
      { 'response.digest': new Uint8Array(32) },
      { 'attested.response': 'fabric' },
    ]) {
      expect(exchange(intent, { ...unobserved, ...end })).toBe('VALUE_UNKNOWN')
    }
    expect(exchange(intent, unobserved, 'indeterminate')).toBe('VALUE_UNKNOWN')
    expect(faultOf(entry('refusal', { ...asked, ...unobserved, code: 'WITHDRAWN' }))).not.toBeNull()
  })

  test('fail on every value outside the closed sets [receipt:disclosure]', () => {
    const others = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.constantFrom('Caller', 'CALLER', 'caller ', 'user', 'operator', 'fabric,caller', ''),
    )
    fc.assert(
      fc.property(others, (value) => {
        const known: readonly string[] = [...ATTESTORS.request, ...ATTESTORS.response]
        fc.pre(!known.includes(value) && !(EXCHANGE_RESULTS as readonly string[]).includes(value))
        expect(exchange({ ...intent, 'attested.request': value }, outcome)).toBe('VALUE_UNKNOWN')
        expect(exchange(intent, { ...outcome, 'attested.response': value })).toBe('VALUE_UNKNOWN')
        expect(exchange(intent, { ...outcome, result: value })).toBe('VALUE_UNKNOWN')
        expect(exchange(meshIntent, { ...meshOutcome, producer: value })).toBe('VALUE_UNKNOWN')
      }),
    )
    expect(exchange({ ...intent, 'attested.request': 7 }, outcome)).toBe('FACT_MISTYPED')
    expect(exchange(intent, { result: 'refused', code: 'no' })).toBe('VALUE_UNKNOWN')
    expect(exchange(intent, { result: 'delivered' }, 'indeterminate')).toBe('VALUE_UNKNOWN')
  })

  test('fail without a fact that decides the claim', () => {
    for (const name of Object.keys(intent)) {
      const { [name]: _, ...rest } = intent
      expect(exchange(rest, outcome), name).toBe('FACT_MISSING')
    }
    for (const name of Object.keys(outcome)) {
      const { [name]: _, ...rest } = outcome
      expect(exchange(intent, rest), name).toBe('FACT_MISSING')
    }
  })

  test('fail where connector and fabric attest in each other’s name', () => {
    const contradictions: readonly (readonly [Facts, Facts])[] = [
      [{ ...meshIntent, 'attested.request': 'fabric' }, meshOutcome],
      [meshIntent, { ...meshOutcome, 'attested.response': 'fabric' }],
      [{ ...intent, 'attested.request': 'connector' }, outcome],
      [{ ...intent, transport: 'mesh' }, outcome],
      [{ ...intent, producer }, outcome],
      [meshIntent, outcome],
      [intent, meshOutcome],
      [meshIntent, { ...meshOutcome, producer: 'spiffe://acme.test/agent/other' }],
      [{ ...meshIntent, receiver: 'other' }, meshOutcome],
    ]
    for (const [opening, closing] of contradictions) {
      expect(exchange(opening, closing)).toBe('PRODUCER_CONTRADICTED')
    }
    for (const other of ['spiffe://acme.test/fabric/gateway', 'spiffe://b.test/agent/pay', 'pay']) {
      expect(exchange({ ...meshIntent, producer: other }, meshOutcome)).toBe('VALUE_UNKNOWN')
    }
  })

  test('let a connector refuse what its agent receives or asks, and nothing of others', () => {
    const refusal = { ...asked, ...ofConnector, code: 'NOT_PERMITTED' }
    expect(faultOf(entry('refusal', refusal))).toBeNull()
    const own = { ...refusal, receiver: 'bank', caller: producer }
    expect(faultOf(entry('refusal', own))).toBeNull()
    const foreign = { ...refusal, receiver: 'bank' }
    expect(faultOf(entry('refusal', foreign))).toBe('PRODUCER_CONTRADICTED')
  })

  test('fail where result and code contradict each other', () => {
    const refusal = { ...asked, ...ofConnector, code: 'OUTCOME_UNKNOWN' }
    for (const result of ['unknown', 'broken']) {
      expect(faultOf(entry('refusal', { ...refusal, result }))).toBeNull()
    }
    for (const result of ['withheld', 'cut', 'refused', 'delivered']) {
      expect(faultOf(entry('refusal', { ...refusal, result })), result).toBe('VALUE_UNKNOWN')
    }
    const unknown = { ...refusal, code: 'NOT_PERMITTED', result: 'unknown' }
    expect(faultOf(entry('refusal', unknown))).toBe('VALUE_UNKNOWN')
    expect(exchange(intent, { result: 'refused', code: 'OUTCOME_UNKNOWN' })).toBe('VALUE_UNKNOWN')
  })
})

test('a receiver states of what is refused alone that it has not processed it', () => {
  const stated = { result: 'refused', code: 'RECEIVER_UNREACHABLE', 'stated.by': 'receiver' }
  expect(exchange(intent, stated)).toBeNull()
  expect(exchange(intent, { ...stated, 'stated.by': 'caller' })).toBe('VALUE_UNKNOWN')
  expect(exchange(intent, { ...outcome, 'stated.by': 'receiver' })).toBe('VALUE_UNKNOWN')
})

test('the end of a response is that of its connection, or its own and not stated', () => {
  expect(exchange(intent, { ...outcome, 'response.end': 'connection' })).toBeNull()
  expect(exchange(intent, { ...outcome, 'response.end': 'whole' })).toBe('VALUE_UNKNOWN')
  const hidden = { ...entry('outcome', outcome), withheld: ['response.end'] }
  expect(faultOf(hidden)).toBe('FACT_WITHHELD')
})

describe('the one ending of an entry', () => {
  const closing = { ...ofConnector, transport: 'mesh' }
  const unknown = { ...closing, result: 'unknown', code: 'OUTCOME_UNKNOWN' }
  const digest = new Uint8Array(32)

  test.each([
    { status: 200 },
    { 'attested.response': 'connector' },
    { 'response.digest': digest },
    { transcript: digest, events: 1 },
    { 'response.bytes': 9 },
    { progress: 'not-sent' },
    { code: 'UNDECIDED' },
  ])('fails where what is unknown has %o', (facts) => {
    expect(faultOf(entry('indeterminate', unknown))).toBeNull()
    expect(faultOf(entry('indeterminate', { ...unknown, ...facts }))).toBe('VALUE_UNKNOWN')
  })

  test('is judged by the names of facts that are withheld as well', () => {
    const stream = { ...closing, result: 'completed', 'attested.response': 'connector' }
    expect(faultOf(entry('outcome', stream))).toBe('VALUE_UNKNOWN')
    expect(faultOf({ ...entry('outcome', stream), withheld: ['transcript', 'events'] })).toBeNull()
    const hidden = { ...entry('indeterminate', unknown), withheld: ['response.digest'] }
    expect(faultOf(hidden)).toBe('VALUE_UNKNOWN')
  })

  test('may have a code of a newer version', () => {
    const newer = { ...closing, result: 'refused', code: 'OF_A_NEWER_VERSION' }
    expect(faultOf(entry('outcome', newer))).toBeNull()
  })
})

describe('the ending that an entry states', () => {
  const ends = (facts: Facts, kind: ClaimedEntry['kind'] = 'refusal') =>
    endingOf(kind, facts)?.result ?? null

  test('follows the code of a refusal where the entry gives no result', () => {
    expect(ends({ code: 'NOT_PERMITTED' })).toBe('refused')
    expect(ends({ code: 'OUTCOME_UNKNOWN' })).toBe('unknown')
    expect(ends({ code: 'RESPONSE_REJECTED' })).toBe('withheld')
    expect(ends({ code: 'WITHDRAWN' })).toBe('refused')
    expect(ends({ code: 'WITHDRAWN', result: 'withheld' })).toBe('withheld')
    expect(ends({ code: 'OF_A_NEWER_VERSION' })).toBe('refused')
  })

  test('is unknown for whatever was closed as indeterminate, and null for what closes nothing', () => {
    expect(ends({ result: 'delivered' }, 'indeterminate')).toBe('unknown')
    for (const kind of ['genesis', 'intent', 'lifecycle'] as const) {
      expect(ends({ result: 'delivered', code: 'NOT_PERMITTED' }, kind)).toBeNull()
    }
  })
})
