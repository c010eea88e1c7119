import type { MeshFact } from '@countersign/protocol'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { agentId } from '../harness/doors.ts'
import { indexesOf, meshEntry, newExchange, record } from '../harness/entries.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Facts = Readonly<Record<string, MeshFact | null>>

const none = {
  ...{ 'attested.response': null, status: null, 'response.digest': null },
  ...{ 'response.forwarded-digest': null, 'response.masked': null },
}

/** Outcomes of which one reader sees one ending, and another reader another. */
const outcomes: Readonly<Record<string, Facts>> = {
  'delivered, by the code of a refusal': { code: 'NOT_PERMITTED' },
  'delivered, and not sent': { progress: 'not-sent' },
  'delivered, and answered after all': { progress: 'answered' },
  'delivered, with a transcript': { transcript: new Uint8Array(32), events: 1 },
  'completed, by the code of a refusal': { result: 'completed', code: 'WITHDRAWN' },
  'refused, with a response': { result: 'refused', code: 'NOT_PERMITTED' },
  'refused, and answered': {
    ...{ ...none, result: 'refused', code: 'NOT_PERMITTED', progress: 'answered' },
  },
  'refused, and sent': {
    ...none,
    result: 'refused',
    code: 'RECEIVER_UNREACHABLE',
    progress: 'sent',
  },
  'refused, for what only an answer can be refused for': {
    ...{ ...none, result: 'refused', code: 'RESPONSE_REJECTED' },
  },
  'refused, without a code': { ...none, result: 'refused' },
  'withheld, without a code': { result: 'withheld' },
  'withheld, and not sent': { result: 'withheld', code: 'WITHDRAWN', progress: 'not-sent' },
  'cut, without a code': { result: 'cut' },
  'abandoned, by the code of a refusal': { result: 'abandoned', code: 'NOT_PERMITTED' },
  'abandoned, and not sent': { ...none, result: 'abandoned', progress: 'not-sent' },
  'completed, without a transcript': { result: 'completed' },
  'cut, for a code that is not of an answer': { result: 'cut', code: 'RATE_LIMITED' },
  'withheld, for a code that is not of an answer': { result: 'withheld', code: 'NOT_PERMITTED' },
  'broken, for a code that is not of an answer': { result: 'broken', code: 'NOT_PERMITTED' },
  'stated, for what no receiver states': { ...none, result: 'stated', code: 'EPOCH_STALE' },
  'stated, for a credential that is spent': {
    ...{ ...none, result: 'stated', code: 'CREDENTIAL_SPENT' },
  },
  'stated, with a response': { result: 'stated', code: 'NOT_PERMITTED' },
  'refused, with the size of a response': {
    ...{ ...none, result: 'refused', code: 'RECEIVER_UNREACHABLE', 'response.bytes': 9 },
  },
  'unknown, with the size of a response': {
    ...{ ...none, result: 'unknown', code: 'OUTCOME_UNKNOWN', 'response.bytes': 9 },
  },
  'without a result, by a code': { ...none, result: null, code: 'NOT_PERMITTED' },
  'unknown, with a response': { result: 'unknown', code: 'OUTCOME_UNKNOWN' },
  'unknown, and answered': {
    ...{ ...none, result: 'unknown', code: 'OUTCOME_UNKNOWN', progress: 'answered' },
  },
}

/** The facts that an honest connector records of each ending. */
const honest: Readonly<Record<string, Facts>> = {
  delivered: {},
  completed: { result: 'completed', transcript: new Uint8Array(32), events: 2 },
  refused: { ...none, result: 'refused', code: 'RECEIVER_UNREACHABLE', progress: 'not-sent' },
  withdrawn: { ...none, result: 'refused', code: 'WITHDRAWN', progress: 'not-sent' },
  withheld: { ...none, result: 'withheld', code: 'RESPONSE_REJECTED', progress: 'answered' },
  stated: { ...none, result: 'stated', code: 'NOT_PERMITTED', progress: 'answered' },
  unknown: { ...none, result: 'unknown', code: 'OUTCOME_UNKNOWN', progress: 'sent' },
  'left by its caller': { result: 'abandoned', transcript: new Uint8Array(32), events: 2 },
  broken: { result: 'broken', code: 'OUTCOME_UNKNOWN', transcript: new Uint8Array(32), events: 2 },
  cut: { result: 'cut', code: 'WITHDRAWN', transcript: new Uint8Array(32), events: 2 },
}

/** The same in an entry whose kind states that the outcome is unknown. */
const indeterminate: Readonly<Record<string, Facts>> = {
  'with a whole response': {
    ...{ 'attested.response': 'connector', status: 200, 'response.digest': new Uint8Array(32) },
    progress: 'not-sent',
  },
  'with a status': { status: 200 },
  'with a digest': { 'response.digest': new Uint8Array(32) },
  'with a transcript': { transcript: new Uint8Array(32), events: 3 },
  'with the size of a response': { 'response.bytes': 9 },
  'and not sent': { progress: 'not-sent' },
  'and answered': { progress: 'answered' },
  'by another code': { code: 'UNDECIDED' },
}

async function closed(world: World, facts: Facts, kind: 'outcome' | 'indeterminate' = 'outcome') {
  const exchange = newExchange()
  expect((await record(world, [meshEntry({ exchange })])).status).toBe(200)
  const ending = meshEntry({ exchange, kind, facts })
  return (await indexesOf(world, [ending, meshEntry()]))[0]
}

attack(verifies(['record:ending'], 'an exchange has one ending, for every reader'), {
  gateway: 'the fabric makes its own entries',
  mesh: {
    ...Object.fromEntries(
      Object.entries(outcomes).map(([name, facts]) => [
        name,
        async (world: World) => expect(await closed(world, facts)).toBeNull(),
      ]),
    ),
    ...Object.fromEntries(
      Object.entries({ ...indeterminate, 'and nothing else': {} }).map(([name, facts]) => [
        `indeterminate, ${name}`,
        async (world: World) => {
          const stated = { code: 'OUTCOME_UNKNOWN', ...facts }
          const isOdd = Object.hasOwn(indeterminate, name)
          const expected: unknown = isOdd ? null : expect.any(Number)
          expect(await closed(world, stated, 'indeterminate')).toEqual(expected)
        },
      ]),
    ),
    ...Object.fromEntries(
      Object.entries(honest).map(([name, facts]) => [
        `and what is ${name} is recorded`,
        async (world: World) => expect(await closed(world, facts)).toEqual(expect.any(Number)),
      ]),
    ),
    'a refusal in the fabric’s name': async (world) => {
      for (const receiver of ['fabric', 'gateway', 'Echo', '']) {
        const facts = { caller: agentId('thief'), receiver }
        const bad = meshEntry({ kind: 'refusal', facts })
        expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
      }
    },
  },
  queue: 'the fabric makes its own entries',
})
