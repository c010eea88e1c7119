import { utf8 } from '@countersign/protocol'
import { expect, test, vi } from 'vitest'
import { ownedIds, stoppedClock, taskOwners } from '../../../../../test/harness/owners.ts'
import { agentKey } from '../../../../../test/harness/principals.ts'
import { memoryRecordStore } from '../../adapters/memory/record-store.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Forwarder } from '../../pipeline/delivery.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import type { Intended } from '../../pipeline/record.ts'
import { ReachedOwners } from './reached-owners.ts'
import { withTasks } from './task-guard.ts'
import { noTasks } from './task-ids.ts'
import { taskReaders } from './task-reader.ts'

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at)

const caller = { kind: 'agent', name: 'boss', principal: agentKey('boss') }
const intended = { caller, target: { name: 'shop' } } as unknown as Exchange<Intended>

const reader = {
  createdIn: (body: Uint8Array) => taskReaders.createdIn(body),
  listedIn: (body: Uint8Array) => taskReaders.listedIn(body),
  filtered: (body: Uint8Array, owned: readonly string[]) => taskReaders.filtered(body, owned),
  filteredError: (body: Uint8Array, owned: readonly string[]) =>
    taskReaders.filteredError(body, owned),
}

/**
 * Lists in one exchange, of tasks of so many other callers each; gives what the caller receives.
 */
async function lists(
  pages: readonly (readonly number[])[],
  mayReach: (authorized: unknown, owner: string) => boolean,
) {
  const owners = taskOwners()
  const references = { ...noTasks, lists: true }
  const reached = new ReachedOwners(owners.tasks, 'shop', references)
  for (const at of pages.flat()) await owners.tasks.claim('shop', [`task ${at}`], `owner-${at}`)
  const events = pages.map((page) => ({
    data: utf8(JSON.stringify({ tasks: page.map((id) => ({ id })) })),
    ...{ contentType: 'application/json', frame: [] },
  }))
  const forwarder = (async () => ({
    ...{ status: 200, headers: [], contentType: 'text/event-stream', facts: {} },
    countersignature: null,
    body: (async function* () {
      yield* events
    })(),
  })) as unknown as Forwarder
  const guard = { owners, references, reader, ownsEvents: false, reached, mayReach }
  const delivered = await withTasks(forwarder, guard)(intended, () => null)
  if (!('body' in delivered) || delivered.body instanceof Uint8Array) throw new Error('no stream')
  const shown: string[] = []
  for await (const { data } of delivered.body) shown.push(Buffer.from(data).toString())
  return shown
}

test('in one exchange, policy is asked once for each owner whose tasks are cut', async () => {
  const mayReach = vi.fn(() => false)
  const page = numbers(1_000)
  expect(await lists([page, page, page], mayReach)).toEqual(Array(3).fill('{"tasks":[]}'))
  expect(mayReach).toHaveBeenCalledTimes(1_000)
})

test('owners whose tasks are cut are bounded in one exchange', async () => {
  const mayReach = vi.fn(() => false)
  const page = (from: number) => numbers(600).map((at) => from + at)
  await expect(lists([page(0), page(600)], mayReach)).rejects.toMatchObject({
    refusal: { code: 'RESPONSE_REJECTED', limit: 'tasks.ownersCut, 1024' },
  })
  expect(mayReach).toHaveBeenCalledTimes(1_025)
})

test('owners whose tasks are shown are bounded, and no more of them are asked about', async () => {
  const mayReach = vi.fn(() => true)
  expect(await lists([numbers(256)], mayReach)).toHaveLength(1)
  mayReach.mockClear()
  await expect(lists([numbers(1_000)], mayReach)).rejects.toMatchObject({
    refusal: { code: 'RESPONSE_REJECTED', limit: 'tasks.ownersListed, 256' },
  })
  expect(mayReach).toHaveBeenCalledTimes(257)
})

test('of the owners that a request names, no more are collected than it takes to refuse it', async () => {
  const tasks = ownedIds()
  const ids = numbers(1_000).map((at) => `task ${at}`)
  for (const id of ids) await tasks.claim('shop', [id], agentKey(`owner-${id.slice(5)}`))
  const found = new ReachedOwners(tasks, 'shop', { ...noTasks, mentions: ids })
  expect(found.of(agentKey('boss')).size).toBe(65)
  const own = new ReachedOwners(tasks, 'shop', { ...noTasks, mentions: ids.slice(0, 65) })
  expect(own.of(agentKey('owner-0')).size).toBe(64)
})

test('an answer that creates more than is remembered of one is refused', async () => {
  const owners = taskOwners()
  const claim = vi.spyOn(owners.tasks, 'claim')
  const body = utf8(JSON.stringify({ task: { taskIds: numbers(65) } }))
  const forwarder = (async () => ({ status: 200, headers: [], body })) as unknown as Forwarder
  const references = { ...noTasks, creates: true }
  const guard = { owners, references, reader, ownsEvents: false, reached: null }
  const answer = await withTasks(forwarder, { ...guard, mayReach: () => false })(
    intended,
    () => null,
  )
  expect(answer).toMatchObject({ failure: { refusal: { limit: 'tasks.created, 64' } } })
  expect(answer).not.toBeInstanceOf(Refusal)
  expect(claim).not.toHaveBeenCalled()
})

/** A store on which nothing can be read or written. */
const failing = {
  ...memoryRecordStore({ clock: stoppedClock }),
  findEach: () => Promise.reject(new Error('no store')),
  put: () => Promise.reject(new Error('no store')),
}

const answers = (body: object, calls: string[] = []): Forwarder =>
  (async () => {
    calls.push('sent')
    return { status: 200, headers: [], body: utf8(JSON.stringify(body)) }
  }) as unknown as Forwarder

test('an answer whose task has no owner on record is withheld', async () => {
  const guard = { owners: taskOwners(failing), reader, ownsEvents: false, reached: null }
  const references = { ...noTasks, creates: true }
  const forwarder = answers({ task: { id: 'a', status: {} } })
  const guarded = withTasks(forwarder, { ...guard, references, mayReach: () => false })
  const answer = await guarded(intended, () => null)
  expect(answer).toMatchObject({
    failure: { progress: 'sent', detail: expect.stringContaining('could not be written') },
  })
})

test('an event whose id has no owner on record does not pass', async () => {
  const owners = taskOwners(failing)
  const one = { data: utf8('{}'), contentType: 'application/json', frame: [['id', '1']] }
  const forwarder = (async () => ({
    ...{ status: 200, headers: [], contentType: 'text/event-stream', facts: {} },
    body: (async function* () {
      yield one
    })(),
  })) as unknown as Forwarder
  const guard = { owners, references: noTasks, reader, ownsEvents: true, reached: null }
  const answer = await withTasks(forwarder, { ...guard, mayReach: () => false })(
    intended,
    () => null,
  )
  if (!('body' in answer) || answer.body instanceof Uint8Array) throw new Error('no stream')
  await expect(answer.body[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    refusal: { code: 'OUTCOME_UNKNOWN' },
  })
})

test('while owners cannot be read, no stream is resumed and no list is shown', async () => {
  const owners = taskOwners(failing)
  const sent: string[] = []
  const guard = { owners, reader, ownsEvents: true, reached: null, mayReach: () => true }
  const resumed = { ...noTasks, ids: ['event 1'] }
  expect(
    await withTasks(answers({}, sent), { ...guard, references: resumed })(intended, () => null),
  ).toMatchObject({ code: 'UNDECIDED' })
  expect(sent).toEqual([])
  const listing = { ...guard, references: { ...noTasks, lists: true } }
  const list = await withTasks(answers({ tasks: [{ id: 'a' }] }), listing)(intended, () => null)
  if (!('rewrite' in list)) throw new Error('nothing was delivered')
  expect(await list.rewrite?.(list.body as Uint8Array)).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
})

test('the owner of a task of another process is read before the first decision', async () => {
  const store = memoryRecordStore({ clock: stoppedClock })
  await taskOwners(store).tasks.claim('shop', ['task 1'], agentKey('alice'))
  const here = taskOwners(store)
  const references = { ...noTasks, ids: ['task 1', 'task 2'] }
  const reached = new ReachedOwners(here.tasks, 'shop', references)
  await reached.load()
  expect([...reached.of(agentKey('alice'))]).toEqual([''])
  expect([...reached.of(agentKey('bob'))]).toEqual([''])
  const other = new ReachedOwners(here.tasks, 'shop', references)
  expect([...other.of(agentKey('bob'))].toSorted()).toEqual(['', agentKey('alice')])
})
