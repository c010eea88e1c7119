import { expect, test } from 'vitest'
import type { Attack, Target } from '../../tools/siege/attack.ts'
import { KINDS, type Kind, type Seen } from '../../tools/siege/client.ts'
import {
  BUDGETS_BYTES,
  budgetMib,
  faultsOf,
  leakFaults,
  leftMibMax,
  type Outcome,
  tableOf,
  tallyTable,
} from '../../tools/siege/report.ts'
import { fight, newTally, tallyFaults } from '../../tools/siege/tally.ts'

const target = {} as Omit<Target, 'confirm'>
const attack = (round: Attack['round']): Attack => ({ name: 'a', round })

test('a round that throws is a failed one, and reports the reason', async () => {
  const tally = newTally()
  await fight(
    attack(() => Promise.reject(new Error('hung up'))),
    target,
    tally,
  )
  expect(tally).toEqual({ rounds: 0, failed: 1, effects: 0, lastFault: 'Error: hung up' })
  expect(tallyFaults(['a'], { a: tally })).toEqual([
    'a: no effect in 0 rounds; 1 failed, the last one by Error: hung up',
  ])
})

test('an attack without an observed effect fails the siege, however many rounds it fought', async () => {
  const tally = newTally()
  for (let at = 0; at < 3; at++)
    await fight(
      attack(() => Promise.resolve()),
      target,
      tally,
    )
  expect(tallyFaults(['a'], { a: tally })).toEqual(['a: no effect in 3 rounds; 0 failed'])
  await fight(
    attack(async ({ confirm }) => confirm()),
    target,
    tally,
  )
  expect(tallyFaults(['a'], { a: tally })).toEqual([])
  expect(tally).toMatchObject({ rounds: 4, effects: 1 })
})

test('an attack that never began or never came to an end fails the siege', async () => {
  expect(tallyFaults(['a', 'b'], { a: newTally() })).toEqual([
    'a: no effect in 0 rounds; 0 failed',
    'b: no effect in 0 rounds; 0 failed',
  ])
  const tally = newTally()
  const broken = attack(async ({ confirm }) => {
    confirm()
    throw new Error('late')
  })
  await fight(broken, target, tally)
  expect(tallyFaults(['a'], { a: tally })).toEqual([
    'a: every round failed, the last one by Error: late',
  ])
})

const latencies = (of: (kind: Kind) => readonly number[]): Seen['latenciesMs'] =>
  Object.fromEntries(KINDS.map((kind) => [kind, of(kind)])) as Seen['latenciesMs']
const seen = (ms: number, failures: readonly string[] = []): Seen => ({
  latenciesMs: latencies(() => [ms]),
  failures,
})
const outcome = (over: Partial<Outcome> = {}): Outcome => ({
  quiet: { seen: seen(1), rssMib: [200] },
  siege: { seen: seen(2), rssMib: [300] },
  afterMib: 210,
  hasServerEnded: false,
  ...over,
})

test('a siege in which nothing went wrong has no faults', () => {
  expect(faultsOf(outcome())).toEqual([])
})

test('failures of the client, memory over its budgets and memory that stays are faults', () => {
  const failed = { seen: seen(2, ['mesh call: Error: a wrong echo']), rssMib: [300] }
  expect(faultsOf(outcome({ siege: failed }))).toEqual([
    'the client failed 1 times: mesh call: Error: a wrong echo',
  ])
  expect(faultsOf(outcome({ afterMib: 200 + leftMibMax + 1 }))).toHaveLength(1)
  const grown = { seen: seen(2), rssMib: [200 + budgetMib + 1] }
  expect(faultsOf(outcome({ siege: grown }))).toHaveLength(1)
  const silent = { ...seen(2), latenciesMs: latencies((kind) => (kind === 'publish' ? [] : [2])) }
  expect(faultsOf(outcome({ siege: { seen: silent, rssMib: [300] } }))).toEqual([
    'no publish came through',
  ])
  expect(faultsOf(outcome({ hasServerEnded: true }))).toEqual(['the server ended'])
})

test('memory that each siege adds to is a leak, and what the first one leaves is none', () => {
  expect(leakFaults([350])).toEqual([])
  expect(leakFaults([350, 340])).toEqual([])
  expect(leakFaults([350, 450])).toEqual([
    'memory leaks: 350 MiB, 450 MiB after one siege and the next',
  ])
})

test('columns stand apart whatever is in them', () => {
  const slow = { seen: seen(123_456.7), rssMib: [300] }
  const [head = '', row = ''] = tableOf(outcome({ siege: slow })).split('\n')
  expect(row).toMatch(/^gateway call +1 +1\.0 ms +1\.0 ms +1 +123456\.7 ms +123456\.7 ms$/)
  expect(head.length).toBe(row.length)
  const [names = '', first = ''] = tallyTable(['an attack with a long name'], {}).split('\n')
  expect([names.length, first.length]).toEqual([first.length, names.length])
})

test('budgets are those of the code', () => {
  expect(Object.keys(BUDGETS_BYTES)).toContain('queue.leaseMemoryBytes, of one identity')
  for (const bytes of Object.values(BUDGETS_BYTES)) expect(bytes).toBeGreaterThan(0)
})
