import { EventEmitter } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { utf8 } from '@countersign/protocol'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { composeBodies } from '../../compose/bodies.ts'
import { systemClock } from '../../lib/clock.ts'
import { Refusal } from '../../lib/refusal.ts'
import { inspectParts, noParts } from '../../pipeline/inspect-parts.ts'
import type { TimeAccount } from '../../pipeline/large-bodies.ts'
import { kindOf } from '../../protocols/a2a/card-content.ts'
import { createRedactor } from '../../redaction/scan/create-redactor.ts'
import { BodyThread } from './body-thread.ts'
import type { ReceivedRequest } from './received-request.ts'
import type { BodyAnswer, BodyJob } from './thread-lane.ts'

/** A thread that answers at the test's command. */
class Puppet extends EventEmitter {
  readonly jobs: BodyJob[] = []
  ended = false
  /** Ends the wait of `terminate`, for tests that choose that moment. */
  exit: (() => void) | null = null
  readonly #exits: boolean

  constructor(exits: boolean) {
    super()
    this.#exits = exits
  }

  postMessage(job: BodyJob): void {
    this.jobs.push(job)
  }

  answer(answer: BodyAnswer): void {
    this.emit('message', answer)
  }

  unref(): void {}

  async terminate(): Promise<number> {
    this.ended = true
    if (!this.#exits) await new Promise<void>((resolve) => (this.exit = resolve))
    return 0
  }
}

function open({
  isReady = true,
  exits = true,
}: {
  readonly isReady?: boolean
  readonly exits?: boolean
} = {}) {
  const puppets: Puppet[] = []
  const thread = new BodyThread({
    heapBytes: 1,
    now: () => performance.now(),
    start() {
      const puppet = new Puppet(exits)
      puppets.push(puppet)
      if (isReady) queueMicrotask(() => puppet.answer({ isReady: true }))
      return puppet as unknown as Worker
    },
  })
  const inspect = (client: string, name: string = client) =>
    thread.inspect({ ...noParts, path: name }, order, requestOf(client))
  return { thread, puppets, inspect }
}

const order = { mask: [], block: [] }
const requestOf = (client: string): TimeAccount => ({
  ...{ name: client, caller: client, isAnswer: false },
})
const answerTo = (caller: string, name = 'receiver'): TimeAccount => ({
  ...{ name, caller, isAnswer: true },
})
const unchanged = { value: { fields: [], frame: [], body: null, findings: [] } }
const nameOf = (job: BodyJob | undefined) => (job?.name === 'inspect' ? job.parts.path : null)
const namesOf = (puppet: Puppet | undefined) => puppet?.jobs.map(nameOf)
const text = 'text/plain'
const turn = () => vi.advanceTimersByTimeAsync(0)

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('clients take turns, however many messages one of them has', async () => {
  const { puppets, inspect } = open()
  const all = [inspect('a', 'a1'), inspect('a', 'a2'), inspect('a', 'a3'), inspect('b', 'b1')]
  await turn()
  for (const _ of all) {
    await vi.advanceTimersByTimeAsync(10)
    puppets[0]?.answer(unchanged)
  }
  await Promise.all(all)
  expect(namesOf(puppets[0])).toEqual(['a1', 'b1', 'a2', 'a3'])
})

test('a client with long jobs waits for as much time of the others', async () => {
  const { puppets, inspect } = open()
  const all = ['a1', 'a2', 'b1', 'b2', 'b3', 'b4', 'b5'].map((name) =>
    inspect(name.charAt(0), name),
  )
  await turn()
  for (const _ of all) {
    const isLong = nameOf(puppets[0]?.jobs.at(-1))?.startsWith('a') === true
    await vi.advanceTimersByTimeAsync(isLong ? 200 : 50)
    puppets[0]?.answer(unchanged)
  }
  await Promise.all(all)
  expect(namesOf(puppets[0])).toEqual(['a1', 'b1', 'b2', 'b3', 'b4', 'a2', 'b5'])
})

test('however many messages wait, each gets its turn, and all of them end with the thread', async () => {
  const { thread, puppets, inspect } = open()
  const mine = Array.from({ length: 100 }, () => inspect('a'))
  const others = Array.from({ length: 1_000 }, (_, i) => inspect(`other-${i % 50}`))
  for (const _ of [...mine, ...others]) {
    await turn()
    puppets[0]?.answer(unchanged)
  }
  for (const answer of await Promise.all([...mine, ...others])) {
    expect(answer).not.toBeInstanceOf(Refusal)
  }
  const late = [inspect('a'), inspect('late')]
  await turn()
  await thread.close()
  for (const answer of late) {
    expect(await answer).toMatchObject({ code: 'UNDECIDED', detail: 'the fabric stops' })
  }
  expect(await inspect('later')).toMatchObject({ code: 'UNDECIDED' })
})

test('answers of one receiver take turns by the callers that they are for', async () => {
  const { thread, puppets } = open()
  const inspect = (account: TimeAccount, path: string) =>
    thread.inspect({ ...noParts, path }, order, account)
  const all = [
    ...Array.from({ length: 90 }, (_, i) => inspect(answerTo('greedy'), `greedy-${i}`)),
    ...['modest-0', 'modest-1'].map((path) => inspect(answerTo('modest'), path)),
    inspect(answerTo('greedy', 'other'), 'of another receiver'),
  ]
  for (const _ of all) {
    await vi.advanceTimersByTimeAsync(10)
    puppets[0]?.answer(unchanged)
  }
  await Promise.all(all)
  expect(namesOf(puppets[0])?.slice(0, 7)).toEqual([
    ...['greedy-0', 'of another receiver', 'modest-0', 'greedy-1'],
    ...['modest-1', 'greedy-2', 'greedy-3'],
  ])
})

test('a request waits for half a minute and may come again, an answer for a minute', async () => {
  const { thread } = open({ isReady: false })
  const blocked = thread.inspect(noParts, order, requestOf('a'))
  const request = thread.inspect(noParts, order, requestOf('b'))
  const answer = thread.inspect(noParts, order, answerTo('b'))
  await vi.advanceTimersByTimeAsync(60_000)
  expect(await blocked).toMatchObject({ detail: 'the inspecting thread does not start' })
  const late = { code: 'OVERLOADED', limit: 'work.waitMs, 30 s', retryAfterMs: 1_000 }
  expect(await request).toMatchObject(late)
  expect(await answer).toMatchObject({
    ...{ code: 'OUTCOME_UNKNOWN', limit: 'work.answerWaitMs, 1 min' },
  })
})

test('small messages of a client that has used its share of the loop wait as well', async () => {
  const { thread, puppets } = open()
  thread.loop.run('a', 0, () => vi.advanceTimersByTime(6_000))
  const small = { ...large('text/plain'), body: utf8('x'.repeat(3_500)) } as ReceivedRequest
  const all = Array.from({ length: 80 }, () => Promise.resolve(thread.classify(small, '/', 'auto')))
  for (const _ of all) {
    await turn()
    puppets[0]?.answer({ value: 'classified' })
  }
  expect(new Set(await Promise.all(all))).toEqual(new Set(['classified']))
})

test('a message of a caller that has left does not wait', async () => {
  const { thread, puppets } = open()
  const gone = new AbortController()
  const first = thread.inspect(noParts, order, requestOf('a'))
  const left = { left: gone.signal }
  const waiting = [
    thread.inspect(noParts, order, { ...requestOf('a'), ...left }),
    thread.inspect(noParts, order, { ...answerTo('a'), ...left }),
  ]
  await turn()
  gone.abort()
  const late = thread.inspect(noParts, order, { ...answerTo('a'), ...left })
  expect(await Promise.all([...waiting, late])).toMatchObject([
    { code: 'UNDECIDED' },
    { code: 'OUTCOME_UNKNOWN' },
    { code: 'OUTCOME_UNKNOWN' },
  ])
  puppets[0]?.answer(unchanged)
  expect(await first).not.toBeInstanceOf(Refusal)
  expect(puppets[0]?.jobs).toHaveLength(1)
})

test('a thread that dies or runs out of memory refuses its job, and the others get a new one', async () => {
  const { puppets, inspect } = open()
  const waiting = Array.from({ length: 3 }, () => inspect('a'))
  const last = inspect('a')
  for (const [event, error, code] of [
    ['error', new Error('it broke'), 'UNDECIDED'],
    [
      'error',
      Object.assign(new Error(), { code: 'ERR_WORKER_OUT_OF_MEMORY' }),
      'MESSAGE_TOO_LARGE',
    ],
    ['exit', 1, 'UNDECIDED'],
  ] as const) {
    await turn()
    puppets.at(-1)?.emit(event, error)
    expect(await waiting.shift()).toMatchObject({ code })
  }
  await turn()
  puppets.at(-1)?.answer(unchanged)
  expect(await last).not.toBeInstanceOf(Refusal)
  expect(puppets).toHaveLength(4)
})

test('a thread that cannot start refuses what waits, one by one', async () => {
  const { puppets, inspect } = open({ isReady: false })
  const both = [inspect('a'), inspect('b')]
  puppets[0]?.emit('exit', 1)
  puppets[1]?.emit('exit', 1)
  for (const answer of both) expect(await answer).toMatchObject({ code: 'UNDECIDED' })
  expect(puppets).toHaveLength(2)
})

test('a long job begins anew in the slow lane, where it is refused once it is too long there', async () => {
  const { puppets, inspect } = open()
  const long = inspect('a', 'long')
  const short = inspect('b', 'short')
  await vi.advanceTimersByTimeAsync(251)
  const [quick, ...others] = puppets
  expect(quick?.ended).toBe(true)
  const [next, slow] = namesOf(others[0])?.[0] === 'short' ? others : [...others].reverse()
  // Jobs that wait in the quick lane are kept, and do not wait for the slow one.
  expect([namesOf(next), namesOf(slow)]).toEqual([['short'], ['long']])
  next?.answer(unchanged)
  expect(await short).not.toBeInstanceOf(Refusal)
  await vi.advanceTimersByTimeAsync(15_001)
  expect(await long).toMatchObject({ code: 'MESSAGE_TOO_LARGE', limit: 'work.bodyMs, 15 s' })
  expect(slow?.ended).toBe(true)
})

test('a long job is not ended while no other waits, and ended once one does', async () => {
  const { puppets, inspect } = open()
  const long = inspect('a', 'long')
  await vi.advanceTimersByTimeAsync(600)
  expect(puppets.map(({ ended }) => ended)).toEqual([false])
  void inspect('b', 'short')
  await vi.advanceTimersByTimeAsync(250)
  expect(puppets[0]?.ended).toBe(true)
  for (const puppet of puppets) puppet.answer(unchanged)
  expect(await long).not.toBeInstanceOf(Refusal)
})

test('threads that do not end are not joined by more than one, and a job waits for one to end', async () => {
  const { thread, puppets } = open({ exits: false })
  const jobs = Array.from({ length: 6 }, (_, i) =>
    thread.inspect(noParts, order, answerTo(`c${i}`)),
  )
  for (const job of jobs) void Promise.resolve(job).catch(() => undefined)
  await vi.advanceTimersByTimeAsync(40_000)
  // Two of each lane at most.
  const before = puppets.length
  expect(before).toBeLessThanOrEqual(4)
  expect(puppets.filter(({ ended }) => ended).length).toBeGreaterThan(2)
  for (const { exit } of puppets) exit?.()
  await turn()
  expect(puppets.length).toBeGreaterThan(before)
})

test('a thread that cannot be made refuses its job, and the next one tries again', async () => {
  let isPossible = false
  const puppet = new Puppet(true)
  const thread = new BodyThread({
    ...{ heapBytes: 1, now: () => performance.now() },
    start() {
      if (!isPossible) throw new Error('EAGAIN')
      queueMicrotask(() => puppet.answer({ isReady: true }))
      return puppet as unknown as Worker
    },
  })
  const refused = await thread.inspect(noParts, order, requestOf('a'))
  expect(refused).toMatchObject({ code: 'UNDECIDED', detail: expect.stringContaining('EAGAIN') })
  isPossible = true
  const answer = thread.inspect(noParts, order, requestOf('a'))
  await turn()
  puppet.answer(unchanged)
  expect(await answer).toMatchObject({ findings: [] })
})

test('a job that is too costly for the quick lane goes to the slow one, without that bound', async () => {
  const { puppets, inspect } = open()
  const answer = inspect('a')
  await turn()
  puppets[0]?.answer({ isTooCostly: true })
  await turn()
  const [quick, slow] = puppets.map(({ jobs }) => jobs[0])
  if (quick?.name !== 'inspect' || slow?.name !== 'inspect') throw new Error('no job')
  expect(quick.steps).toBeGreaterThan(0)
  // The bound of the redactor itself is the only one there.
  expect(slow.steps).toBe(null)
  puppets[1]?.answer(unchanged)
  expect(await answer).not.toBeInstanceOf(Refusal)
})

test('a job whose answer is there when its time is up is not ended', async () => {
  const { puppets, inspect } = open()
  const answer = inspect('a')
  const other = inspect('b')
  await turn()
  setTimeout(() => puppets[0]?.answer(unchanged), 250)
  await vi.advanceTimersByTimeAsync(250)
  expect(await answer).not.toBeInstanceOf(Refusal)
  expect(puppets).toHaveLength(1)
  expect(puppets[0]?.ended).toBe(false)
  puppets[0]?.answer(unchanged)
  await other
})

test('a client that has used more than its share has the slow lane only, until it is paid back', async () => {
  const { puppets, inspect } = open()
  for (let i = 0; i < 8; i++) {
    const answer = inspect('a')
    await vi.advanceTimersByTimeAsync(240)
    for (const puppet of puppets) puppet.answer(unchanged)
    await answer
  }
  const debtor = inspect('a', 'debtor')
  const other = inspect('b', 'other')
  await turn()
  expect(puppets.map((puppet) => namesOf(puppet)?.at(-1))).toEqual(['other', 'debtor'])
  for (const puppet of puppets) puppet.answer(unchanged)
  await Promise.all([debtor, other])
  await vi.advanceTimersByTimeAsync(5_000)
  void inspect('a', 'paid back')
  expect(namesOf(puppets[0])?.at(-1)).toBe('paid back')
})

test('the jobs that wait in the quick lane leave it with the client that has used its share', async () => {
  const { puppets, inspect } = open()
  const all = ['a1', 'a2', 'a3', 'b1', 'b2'].map((name) => inspect(name.charAt(0), name))
  await vi.advanceTimersByTimeAsync(251)
  for (let i = 0; i < 5; i++) {
    for (const puppet of puppets) puppet.answer(unchanged)
    await turn()
  }
  for (const answer of await Promise.all(all)) expect(answer).not.toBeInstanceOf(Refusal)
  const served = puppets.map((puppet) => namesOf(puppet)?.join(' '))
  expect(served[0]).toBe('a1')
  expect(new Set(served.slice(1))).toEqual(new Set(['a1 a2 a3', 'b1 b2']))
})

test.each([
  ['classify', (thread: BodyThread) => thread.classify(large('text/plain'), '/', 'auto')],
  [
    'content',
    (thread: BodyThread) => thread.readKind(utf8('\\kills '.repeat(2_000)), text, requestOf('a')),
  ],
  [
    'tasks',
    (thread: BodyThread) => thread.tasks.createdIn(utf8('taskId '.repeat(2_000)), requestOf('a')),
  ],
] as const)('the quick lane bounds the steps of a job called %s', async (name, ask) => {
  const { thread, puppets } = open()
  const asking = Promise.resolve(ask(thread))
  await turn()
  const [quick] = puppets[0]?.jobs ?? []
  expect(quick).toMatchObject({ name, steps: 15_000_000 })
  puppets[0]?.answer({ isTooCostly: true })
  await turn()
  const [slow] = puppets[1]?.jobs ?? []
  expect(slow).toMatchObject({ name, steps: null })
  puppets[1]?.answer({ value: true })
  expect(await asking).toBe(true)
})

test('an answer is looked through at the expense of its receiver, and in a thread when it is large', async () => {
  const { thread, puppets } = open()
  const cheap = utf8('x'.repeat(100_000))
  expect(thread.readKind(cheap, text, requestOf('a'))).toBe('same')
  expect(thread.tasks.createdIn(cheap, requestOf('a'))).toEqual([])
  expect(puppets).toHaveLength(0)
  const large = utf8('x'.repeat(1_024 * 1_024 + 1))
  const asked = [
    thread.readKind(large, text, requestOf('a')),
    thread.tasks.createdIn(large, requestOf('a')),
  ].map((each) => Promise.resolve<unknown>(each))
  await turn()
  for (const value of ['same', []]) {
    puppets[0]?.answer({ value })
    await turn()
  }
  expect(await Promise.all(asked)).toEqual(['same', []])
  expect(puppets[0]?.jobs.map(({ name }) => name)).toEqual(['content', 'tasks'])
  // A receiver that has used its share of the loop.
  thread.loop.run('a', 0, () => vi.advanceTimersByTime(1_000))
  const late = Promise.resolve(thread.readKind(cheap, text, requestOf('a')))
  await turn()
  puppets[0]?.answer({ value: 'same' })
  expect(await late).toBe('same')
  expect(puppets[0]?.jobs).toHaveLength(3)
})

const costly = [
  ['text in another charset', 'text/plain; charset=windows-1252', '\x80'],
  ['a form', 'application/x-www-form-urlencoded', '%41'],
  ['a page that declares its charset', 'text/html', '<meta charset=utf-8>'],
  ['blanks without a type', '', ' '],
] as const

test.each(costly)('%s: a large answer is not read on the event loop', async (_, type, unit) => {
  const { thread, puppets } = open()
  // A reader refuses it after reading it to its end.
  const content = Buffer.from(`${unit.repeat(1_100_000 / unit.length)}\0`, 'latin1')
  const kind = Promise.resolve(thread.readKind(content, type, answerTo('caller')))
  await turn()
  expect(puppets[0]?.jobs.map(({ name }) => name)).toEqual(['content'])
  puppets[0]?.answer({ value: 'same' })
  expect(await kind).toBe('same')
})

test('the thread reads an answer as the event loop does', async () => {
  vi.useRealTimers()
  const bodies = composeBodies(new Uint8Array(32), 4 * 1024 * 1024, systemClock)
  for (const [, type, unit] of costly) {
    for (const end of ['', '\0']) {
      const content = Buffer.from(`${unit.repeat(1_100_000 / unit.length)}${end}`, 'latin1')
      const kind = await bodies.readKind(content, type, answerTo('caller'))
      expect(kind).toEqual(kindOf(content, type))
    }
  }
  await bodies.close()
})

function large(type: string): ReceivedRequest {
  const headers = new Map([['content-type', type]])
  const head = { method: 'POST', path: '/', authority: 'a', headers }
  return { head, body: utf8('x'.repeat(9_000)), client: 'a' } as unknown as ReceivedRequest
}

test('a message on no account gets no time of the threads', async () => {
  const { puppets, inspect } = open()
  expect(await inspect('')).toMatchObject({ code: 'UNDECIDED' })
  expect(puppets).toHaveLength(0)
})

test('the thread gives exactly what inspection gives', async () => {
  vi.useRealTimers()
  const hashKey = new Uint8Array(32).fill(7)
  const redactor = createRedactor({ hashKey })
  const bodies = composeBodies(hashKey, 4 * 1024 * 1024, systemClock)
  const filler = 'x'.repeat(40_000)
  const given = [
    [JSON.stringify({ filler, card: '4111 1111 1111 1111' }), 'application/json'],
    [`${filler} and 4111 1111 1111 1111`, 'text/plain'],
    [JSON.stringify({ filler }), 'application/json'],
    ['{"twice":1,"twice":2}', 'application/json'],
    [filler, 'image/png'],
  ] as const
  const masking = { mask: ['card'], block: [] }
  for (const [text, contentType] of given) {
    const body = Buffer.from(text)
    const parts = {
      ...{ body, contentType, path: '/a', signature: { components: ['"@method"'], nonce: null } },
      fields: [['x-note', '4111 1111 1111 1111']] as const,
      frame: [['id', '4111111111111111']] as const,
    }
    const expected = inspectParts(parts, masking, redactor)
    const actual = await bodies.inspect(parts, masking, requestOf('a'))
    if (expected instanceof Refusal) {
      expect(actual).toMatchObject({ code: expected.code })
      continue
    }
    expect(JSON.stringify(actual)).toBe(JSON.stringify(expected))
    if (expected.body === body) expect((actual as typeof expected).body).toBe(body)
  }
  await bodies.close()
})
