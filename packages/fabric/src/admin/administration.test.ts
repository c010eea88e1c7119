import { WATCH_OPERATION } from '@countersign/protocol'
import { expect, test } from 'vitest'
import type { FollowOptions, OpenedEntry } from '../ledger/ledger-reads.ts'
import { LedgerBusy } from '../ledger/unavailable.ts'
import { Refusal } from '../lib/refusal.ts'
import { createAdministration } from './administration.ts'
import type { AdminDeps } from './ports.ts'

const entry = (index: number) =>
  ({ index, kind: 'refusal', exchange: 'exc_a', at: 0, facts: {} }) as unknown as OpenedEntry

const request = { exchange: 'exc_w', caller: { principal: 'spiffe://a.test/agent/op' } } as never

function administrationOf(follow: (options: FollowOptions) => AsyncIterableIterator<OpenedEntry>) {
  const reads = { slot: 'a', vkey: 'a.test/ledger/a+01234567+AQ+key', first: 0, size: 7, follow }
  return createAdministration({ ledger: { reads } } as unknown as AdminDeps)
}

async function open(administration: ReturnType<typeof administrationOf>, args: object = {}) {
  const answer = await administration.carryOut(WATCH_OPERATION, args, request)
  if (answer instanceof Refusal || answer.body instanceof Uint8Array) throw new Error('no stream')
  return answer.body[Symbol.asyncIterator]()
}

test('an entry is written once for all who watch, and the next one anew', async () => {
  const entries = [entry(7), entry(8)]
  const administration = administrationOf(async function* () {
    yield* entries
  })
  const watchers = [await open(administration), await open(administration)]
  const written = async () => {
    const events = await Promise.all(watchers.map((watcher) => watcher.next()))
    return events.map(({ value }) => value?.data)
  }
  const first = await written()
  expect(new Set(first).size).toBe(1)
  expect(JSON.parse(String(first[0] && Buffer.from(first[0])))).toMatchObject({
    index: 7,
    cursor: 'a.01234567.8',
  })
  const second = await written()
  expect(new Set([...first, ...second]).size).toBe(2)
})

test('a watch counts against its reader, and goes on where a cursor states', async () => {
  const asked: FollowOptions[] = []
  const administration = administrationOf((options) => {
    asked.push(options)
    return (async function* () {})()
  })
  await open(administration)
  await open(administration, { after: 'a.01234567.3' })
  const owner = 'spiffe://a.test/agent/op'
  expect(asked).toEqual([
    { from: 7, owner },
    { from: 3, owner },
  ])
})

test('the cursor of another log is refused, and so is any other text', async () => {
  const administration = administrationOf(() => {
    throw new Error('followed')
  })
  for (const after of ['b.01234567.3', 'a.76543210.3', 'a.01234567.03', 'a.01234567.-1', '3', '']) {
    expect(await administration.carryOut(WATCH_OPERATION, { after }, request)).toMatchObject({
      code: 'CURSOR_UNKNOWN',
    })
  }
  for (const after of [7, null, 'a'.repeat(65)]) {
    expect(await administration.carryOut(WATCH_OPERATION, { after }, request)).toMatchObject({
      code: 'MESSAGE_MALFORMED',
    })
  }
})

test('a reader without a place is refused by the limit, before any stream begins', async () => {
  for (const [name, code] of [
    ['ledger.followersPerReader', 'RATE_LIMITED'],
    ['ledger.followers', 'OVERLOADED'],
  ] as const) {
    const administration = administrationOf(() => {
      throw new LedgerBusy({ name, value: 1, unit: 'count' }, 'too many')
    })
    const answer = await administration.carryOut(WATCH_OPERATION, {}, request)
    expect(answer).toMatchObject({ code, limit: `${name}, 1` })
  }
})

test('a read beyond the places of its reader is refused by the limit', async () => {
  const busy = () => {
    const limit = { name: 'ledger.readsPerReader', value: 1, unit: 'count' } as const
    return Promise.reject(new LedgerBusy(limit, 'too many'))
  }
  const reads = { slot: 'a', vkey: 'a.test/ledger/a+01234567+AQ+key', first: 0, size: 7 }
  const ledger = { reads: { ...reads, read: busy, list: busy } }
  const administration = createAdministration({ ledger } as unknown as AdminDeps)
  for (const operation of ['ledger.read', 'ledger.recent', 'ledger.find']) {
    const answer = await administration.carryOut(operation, {}, request)
    expect(answer, operation).toMatchObject({
      code: 'RATE_LIMITED',
      limit: 'ledger.readsPerReader, 1',
    })
  }
})
