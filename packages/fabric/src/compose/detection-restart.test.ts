import type { EntryKind, FactValue } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryLog } from '../../../../test/harness/memory-log.ts'
import { agentKey } from '../../../../test/harness/principals.ts'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { memoryKeys } from '../../../../tools/crash/memory-keys.ts'
import type { Signal } from '../detection/detector.ts'
import { LogConsumer } from '../ledger/log-consumer.ts'
import type { ReplacedKeyStore } from '../ledger/replaced-keys.ts'
import { StateFile } from '../ledger/state-file.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { composeDetection } from './detection.ts'
import { ObservedEntries } from './observed-entries.ts'

const start = Date.UTC(2026, 2, 2)
const names = ['shop', 'billing', 'courier']

/** Behaviour of one agent towards another within a few seconds. */
const behaviour = fc.record({
  caller: fc.constantFrom(...names),
  receiver: fc.constantFrom('ledger', 'vault', ...names),
  times: fc.integer({ min: 1, max: 40 }),
  afterMs: fc.integer({ min: 0, max: 90_000 }),
  does: fc.constantFrom(
    'calls',
    'is denied',
    'sends credentials',
    'leaks',
    'is cut off',
    'records',
  ),
  size: fc.constantFrom(10, 4_000, 900_000),
})
type Behaviour = typeof behaviour extends fc.Arbitrary<infer Value> ? Value : never

type Draft = {
  readonly kind: EntryKind
  readonly exchange: string
  readonly at: number
  readonly facts: Readonly<Record<string, FactValue>>
}

let exchanges = 0

/** The entries of that, with intents and endings apart: a kill comes between them. */
function draftsOf({ caller, receiver, times, does, size }: Behaviour, at: number): Draft[] {
  const asked = { caller: agentKey(caller), 'caller.method': 'certificate', receiver }
  const request = { ...asked, protocol: 'mcp', operation: 'tools/call', 'request.bytes': size }
  const drafts = Array.from({ length: times }, (_, i): readonly Draft[] => {
    const exchange = `exc_${exchanges++}`
    const entry = (kind: EntryKind, facts: Draft['facts']): Draft => {
      return { kind, exchange, at: at + i * 200, facts }
    }
    const masked = does === 'sends credentials' ? 'credential:2 card:1' : ''
    const answered = does === 'leaks' ? 'credential:1' : ''
    switch (does) {
      case 'is denied':
        return [entry('refusal', { ...request, code: 'NOT_PERMITTED' })]
      case 'is cut off':
        return [entry('intent', { ...request, masked })]
      case 'records':
        return [
          entry('refusal', { ...request, producer: asked.caller, code: 'NOT_PERMITTED' }),
          entry('intent', {
            ...request,
            producer: agentKey(receiver),
            'attested.request': 'caller',
          }),
          entry('outcome', { result: 'delivered', 'response.bytes': size }),
        ]
      case 'calls':
      case 'leaks':
      case 'sends credentials':
        return [
          entry('intent', { ...request, masked }),
          entry('outcome', {
            ...{ result: 'delivered', 'response.bytes': size, 'response.masked': answered },
          }),
        ]
    }
  })
  // Intents first, as under load.
  const all = drafts.flat()
  return [
    ...all.filter(({ kind }) => kind !== 'outcome'),
    ...all.filter(({ kind }) => kind === 'outcome'),
  ]
}

/** A detection that follows a log, and every signal that it raised. */
async function follow(log: MemoryLog, disk: LossyDisk, keys: ReplacedKeyStore) {
  const detection = composeDetection()
  const signals: Signal[] = []
  const observe = detection.observe.bind(detection)
  detection.observe = (observation) => {
    const raised = observe(observation)
    signals.push(...raised)
    return raised
  }
  const state = new ObservedEntries(detection, 'a.test')
  const consumer = await LogConsumer.open({
    ...{ name: 'detection', ledger: log, state, clock: systemClock, log: () => undefined },
    file: new StateFile({
      ...{ directory: '/consumers', name: 'detection-a', origin: 'a.test/ledger/a', keys },
      ...{ random: systemRandom, files: disk.mount() },
    }),
    limits: { writeMs: 0, pageEntries: 16 },
    recordRebuilt: () => Promise.reject(new Error('nothing is lost')),
  })
  return { consumer, detection, state, signals }
}

const principals = [...names, 'ledger', 'vault'].map((name) => agentKey(name))

test('detection that is killed at any point loses no finding, and makes none twice', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: behaviour },
    { weight: 1, arbitrary: fc.record({ turns: fc.integer({ min: 1, max: 8 }) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kill: fc.constant(true), coins: fc.infiniteStream(fc.boolean()) }),
    },
  )
  let raised = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 4, maxLength: 24 }),
      fc.array(behaviour, { maxLength: 6 }),
      async (steps, later) => {
        const disk = new LossyDisk()
        const keys = memoryKeys()
        const log = new MemoryLog()
        let at = start
        let killed = await follow(log, disk, keys)
        for (const each of steps) {
          if ('times' in each) log.add(draftsOf(each, (at += each.afterMs)))
          else if ('turns' in each) {
            for (let i = 0; i < each.turns; i++) await new Promise(setImmediate)
          } else {
            log.forgetReaders()
            disk.powerLoss(() => each.coins.next().value === true)
            killed = await follow(log, disk, keys)
          }
        }
        // A process that never died has seen the same log.
        const whole = await follow(log, new LossyDisk(), memoryKeys())
        expect([...killed.state.lines()]).toEqual([...whole.state.lines()])
        for (const principal of principals) {
          const risk = whole.detection.riskOf(principal, at)
          expect(killed.detection.riskOf(principal, at)).toEqual(risk)
          raised += risk.signals.length
        }
        const before = [killed.signals.length, whole.signals.length] as const
        for (const each of later) log.add(draftsOf(each, (at += each.afterMs)))
        expect(killed.signals.slice(before[0])).toEqual(whole.signals.slice(before[1]))
        expect([...killed.state.lines()]).toEqual([...whole.state.lines()])
        await killed.consumer.close()
        await whole.consumer.close()
      },
    ),
    { numRuns: 15 },
  )
  expect(raised).toBeGreaterThan(20)
})

test('an erased subject is gone in every form of its name, and the risk of others stays', () => {
  const detection = composeDetection()
  const state = new ObservedEntries(detection, 'a.test')
  const drafts = [
    ...draftsOf({ ...probing, caller: 'shop', receiver: 'billing' }, start),
    ...draftsOf({ ...probing, ...usual, caller: 'billing', receiver: 'vault' }, start),
    ...draftsOf({ ...probing, caller: 'billing', receiver: 'shop' }, start),
    ...draftsOf({ ...probing, caller: 'courier', receiver: 'shop', does: 'records' }, start),
    // Open still.
    ...draftsOf({ ...probing, caller: 'courier', receiver: 'shop', does: 'is cut off' }, start),
    ...draftsOf({ ...probing, caller: 'shop', receiver: 'vault', does: 'is cut off' }, start),
  ]
  for (const [index, draft] of drafts.entries()) state.apply({ ...draft, index })
  const others = ['billing', 'courier'].map(agentKey)
  const risks = () => others.map((agent) => detection.riskOf(agent, start).score)
  const before = risks()
  expect(Math.min(...before)).toBeGreaterThan(0)
  expect(JSON.stringify([...state.lines()])).toMatch(/on shop for the first time/)
  expect(detection.riskOf(agentKey('shop'), start).score).toBeGreaterThan(0)
  const asked: string[] = []
  const steps = state.forget((name) => {
    asked.push(name)
    return name === 'shop'
  })
  while (steps.next().done !== true);
  expect(JSON.stringify([...state.lines()])).not.toMatch(/shop/)
  expect(risks()).toEqual(before)
  expect(detection.riskOf(agentKey('shop'), start)).toEqual({ score: 0, signals: [] })
  // As the row of the erasure has it, whose hash is of one form of the name.
  expect(asked).toContain('billing')
  expect(asked).not.toContain(agentKey('billing'))
})

const probing = { times: 30, afterMs: 0, does: 'is denied', size: 10 } as const
/** So many that the first call to another receiver is a finding. */
const usual = { times: 110, does: 'calls' } as const

test.each(['', '{}', '{"format":"countersign-detection-3","open":0}', 'x'])(
  'lines of another program (%s) are refused, and change nothing',
  (line) => {
    const detection = composeDetection()
    const state = new ObservedEntries(detection, 'a.test')
    const facts = { caller: agentKey('shop'), 'caller.method': 'certificate', receiver: 'vault' }
    state.apply({ kind: 'intent', exchange: 'exc_1', index: 1, at: start, facts })
    const before = [...state.lines()]
    expect(() => state.restore([line])).toThrow()
    expect([...state.lines()]).toEqual(before)
  },
)
