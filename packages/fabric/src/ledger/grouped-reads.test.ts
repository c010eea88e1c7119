import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { GroupedReads } from './grouped-reads.ts'
import type { Committed, EntryDraft } from './ledger.ts'

let now = 0
let recorded: EntryDraft[] = []
let fault: Error | null = null
let space: Error | null = null
/** Holds up the disk. */
let slow = Promise.resolve()
let reads: GroupedReads

const append = async (draft: EntryDraft): Promise<Committed> => {
  if (fault !== null) throw fault
  await slow
  recorded.push(draft)
  const { exchange, kind } = draft
  return { exchange, kind, index: recorded.length, leafHash: new Uint8Array(32) }
}

beforeEach(() => {
  vi.useFakeTimers()
  now = 0
  recorded = []
  ;[fault, space] = [null, null]
  slow = Promise.resolve()
  reads = new GroupedReads(
    {
      append,
      assertSpace: () => (space === null ? Promise.resolve() : Promise.reject(space)),
      newId: () => `exc_a_${recorded.length}`,
      clock: { now: () => now, monotonic: () => now },
      log: () => undefined,
    },
    ['ledger.find'],
  )
})
afterEach(async () => {
  fault = null
  await reads.close()
  vi.useRealTimers()
})

const facts = (of: object = {}) => ({
  ...{ caller: 'op', operation: 'ledger.find', 'caller.credential': 'c' },
  ...of,
})
const intent = (exchange: string, of: object = {}): EntryDraft => ({
  ...{ kind: 'intent', exchange, at: now, purpose: 'oversight', facts: facts(of) },
})
const outcome = (exchange: string, result = 'delivered'): EntryDraft => ({
  ...{ kind: 'outcome', exchange, at: now, facts: { result } },
})

async function read(exchange: string, of: object = {}): Promise<void> {
  await reads.append(intent(exchange, of))
  await reads.append(outcome(exchange))
}

const later = async (ms: number): Promise<void> => {
  now += ms
  await vi.advanceTimersByTimeAsync(ms)
}

const shown = () =>
  recorded.map(({ kind, exchange, facts: each }) => [kind, each['reads'] ?? exchange])

test('the first read is recorded before it is made, and those of its minute are one entry', async () => {
  for (const exchange of ['1', '2', '3', '4']) await read(exchange)
  const first = [
    ['intent', '1'],
    ['outcome', '1'],
  ]
  expect(shown()).toEqual(first)
  await later(60_000)
  expect(shown()).toEqual([...first, ['lifecycle', 3]])
  expect(recorded.at(-1)).toMatchObject({
    purpose: 'oversight',
    facts: { event: 'ledger-read', agent: 'op', operation: 'ledger.find', first: '1' },
  })
  // The next minute begins with a read of its own.
  await read('5')
  expect(shown().slice(3)).toEqual([
    ['intent', '5'],
    ['outcome', '5'],
  ])
})

test('a single read leaves no entry but its own', async () => {
  await read('1')
  await later(120_000)
  expect(shown()).toHaveLength(2)
})

test('readers, users, credentials and operations are counted apart; others are not counted', async () => {
  await read('1')
  for (const [i, of] of [
    { caller: 'other' },
    { 'caller.user': 'u' },
    { 'caller.credential': 'd' },
    { operation: 'agent.list' },
  ].entries()) {
    await read(`a${i}`, of)
  }
  expect(recorded).toHaveLength(10)
  await read('again', { operation: 'agent.list' })
  expect(recorded).toHaveLength(12)
  const administered = { ...intent('x'), purpose: 'administration' } as const
  await reads.append(administered)
  expect(recorded).toHaveLength(13)
})

test('reads whose first one is not durable yet are recorded by themselves', async () => {
  await Promise.all([read('1'), read('2'), read('3')])
  expect(recorded.filter(({ kind }) => kind === 'intent')).toHaveLength(3)
})

test('a read is not made where it could not be recorded', async () => {
  fault = new Error('the disk is full')
  await expect(reads.append(intent('1'))).rejects.toThrow('the disk is full')
  fault = null
  await read('2')
  space = new Error('no space')
  await expect(reads.append(intent('3'))).rejects.toThrow('no space')
  space = null
  await read('4')
  await reads.close()
  expect(shown().at(-1)).toEqual(['lifecycle', 1])
})

test('a counted read that does not end as delivered is recorded whole', async () => {
  await read('1')
  await reads.append(intent('2'))
  await reads.append(outcome('2', 'withheld'))
  await reads.append(intent('3'))
  await reads.append({ ...outcome('3'), kind: 'indeterminate' })
  expect(shown().slice(2)).toEqual([
    ['intent', '2'],
    ['outcome', '2'],
    ['intent', '3'],
    ['indeterminate', '3'],
  ])
})

test('what cannot be recorded stays counted, and an orderly stop records it', async () => {
  for (const exchange of ['1', '2', '3']) await read(exchange)
  fault = new Error('the disk is full')
  await later(70_000)
  fault = null
  await later(5_000)
  expect(shown().at(-1)).toEqual(['lifecycle', 2])
  for (const exchange of ['4', '5']) await read(exchange)
  await reads.close()
  expect(shown().at(-1)).toEqual(['lifecycle', 1])
})

test('a number that takes long to record is recorded once, and its reader is counted again', async () => {
  for (const exchange of ['1', '2', '3']) await read(exchange)
  const disk = Promise.withResolvers<void>()
  slow = disk.promise
  // Every five seconds, for as long as the disk needs.
  await later(80_000)
  slow = Promise.resolve()
  disk.resolve()
  await later(5_000)
  expect(shown().slice(2)).toEqual([['lifecycle', 2]])
  for (const exchange of ['4', '5', '6']) await read(exchange)
  expect(shown().slice(3)).toEqual([
    ['intent', '4'],
    ['outcome', '4'],
  ])
})

test('a read that ends after the stop is recorded whole, and so is one that begins then', async () => {
  await read('1')
  await reads.append(intent('2'))
  await reads.close()
  await reads.append(outcome('2'))
  await read('3')
  expect(shown().slice(2)).toEqual([
    ['intent', '2'],
    ['outcome', '2'],
    ['intent', '3'],
    ['outcome', '3'],
  ])
})

test('reads under way are bounded for each group, and further ones are recorded', async () => {
  await read('first')
  for (let n = 0; n < 20; n++) await reads.append(intent(String(n)))
  expect(recorded).toHaveLength(2 + 4)
  // A group with reads under way is not over: their number is not known yet.
  await later(120_000)
  for (let n = 0; n < 20; n++) await reads.append(outcome(String(n)))
  await later(5_000)
  expect(shown().at(-1)).toEqual(['lifecycle', 16])
})
