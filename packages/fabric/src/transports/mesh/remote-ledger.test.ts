import { generateKeyPairSync, sign } from 'node:crypto'
import {
  type BatchStatement,
  createExchangeId,
  parseBatch,
  parseLeaf,
  parsePackedBatch,
  utf8,
} from '@countersign/protocol'
import { afterEach, expect, test, vi } from 'vitest'
import type { EntryDraft } from '../../ledger/ledger.ts'
import { LedgerBusy } from '../../ledger/unavailable.ts'
import { systemRandom } from '../../lib/random.ts'
import { sha256 as hash } from '../../lib/sha256.ts'
import { remoteLedger } from './remote-ledger.ts'

const begun = (caller: string) => ({
  ...{ transport: 'mesh', protocol: 'http', operation: 'GET', receiver: 'b' },
  ...{ caller: `spiffe://a.test/agent/${caller}`, 'attested.request': 'connector' },
})
const ended = { result: 'delivered', 'attested.response': 'connector' }

const draft = (kind: 'intent' | 'outcome', caller = 'a', slot = 'a'): EntryDraft => ({
  kind,
  exchange: createExchangeId(slot, Date.now(), systemRandom(10)),
  at: Date.now(),
  facts: kind === 'intent' ? begun(caller) : ended,
})

const sha256 = (bytes: Uint8Array) => Uint8Array.from(hash(bytes))
const { privateKey } = generateKeyPairSync('ed25519')
const agent = {
  spiffeId: 'spiffe://a.test/agent/b',
  trustDomain: 'a.test',
  signer: {
    keyId: 'k'.repeat(43),
    sign: (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey)),
  },
}

interface Asked {
  readonly kinds: readonly string[]
  readonly statement: BatchStatement
  readonly bytes: Uint8Array
  answer(status: number, body: object): void
  /** The connection breaks. */
  fail(): void
  /** Records every entry of the batch. */
  take(): void
}

/** A fabric that answers at a test's command. The test controls the timers and the clock. */
function openSlowFabric() {
  vi.useFakeTimers()
  const batches: Asked[] = []
  let now = 0
  const clock = { monotonic: () => now, now: () => Date.now() }
  const request = ({ body }: { readonly body: Uint8Array | null }) => {
    const { promise, resolve, reject } = Promise.withResolvers<{
      status: number
      body: Uint8Array
    }>()
    const { entries, statement } = parsePackedBatch(body ?? new Uint8Array(0))
    const answer = (status: number, value: object) =>
      resolve({ status, body: utf8(JSON.stringify(value)) })
    batches.push({
      kinds: entries.map(({ leaf }) => parseLeaf(leaf).kind),
      statement: parseBatch(statement).statement,
      bytes: statement,
      answer,
      fail: () => reject(new Error('ECONNRESET')),
      take: () => answer(200, { indexes: entries.map((_, at) => at), batch: entries.length }),
    })
    return promise
  }
  return {
    count: () => batches.length,
    /** The batch at this position; a test that waits for one that never came fails at once. */
    asked(at: number): Asked {
      const batch = batches[at]
      if (batch === undefined) throw new Error(`there were ${batches.length} batches`)
      return batch
    },
    ledger: remoteLedger({ request, ...agent }, { clock, random: systemRandom }),
    async pass(ms: number) {
      now += ms
      await vi.advanceTimersByTimeAsync(ms)
    },
  }
}

afterEach(() => {
  vi.useRealTimers()
})

const failureOf = (appending: Promise<unknown>): Promise<unknown> =>
  appending.then(
    () => null,
    (cause: unknown) => cause,
  )

test('beyond its bound no exchange begins, other callers still have a share, and what closes one waits', async () => {
  const { ledger, asked, count, pass } = openSlowFabric()
  void failureOf(ledger.append(draft('intent', 'first')))
  const greedy: Promise<unknown>[] = []
  for (let i = 0; i < 4096; i++) greedy.push(failureOf(ledger.append(draft('intent', 'greedy'))))
  expect(await greedy.at(-1)).toMatchObject({
    ...{ name: 'LedgerBusy', limit: { name: 'mesh.waitingEntries', value: 4096 } },
  })
  const neighbour = ledger.append(draft('intent', 'neighbour'))
  const closing = ledger.append(draft('outcome'))
  asked(0).take()
  await pass(0)
  // Entries that close an exchange go before all that only begin one.
  expect(asked(1).kinds[0]).toBe('outcome')
  for (let i = 1; i < count(); i++) {
    asked(i).take()
    await pass(0)
  }
  expect(await closing).toMatchObject({ kind: 'outcome' })
  expect(await neighbour).toMatchObject({ kind: 'intent' })
})

test('an entry that waits for too long is refused, and is never sent', async () => {
  const { ledger, asked, pass } = openSlowFabric()
  const first = ledger.append(draft('intent'))
  const late = failureOf(ledger.append(draft('intent')))
  const closing = ledger.append(draft('outcome'))
  await pass(5_000)
  expect(await late).toMatchObject({
    ...{ name: 'LedgerBusy', limit: { name: 'mesh.waitMs', value: 5_000 } },
  })
  asked(0).take()
  await first
  await pass(0)
  expect(asked(1).kinds).toEqual(['outcome'])
  asked(1).take()
  await closing
})

test('the end of an exchange is sent again while the fabric is at a limit, a bounded number of times', async () => {
  const { ledger, asked, count, pass } = openSlowFabric()
  const kept = ledger.append(draft('outcome'))
  asked(0).answer(429, { limit: 'limits.requestsPerMinute, 6000 per minute' })
  await pass(1_000)
  asked(1).take()
  expect(await kept).toMatchObject({ kind: 'outcome' })
  const lost = failureOf(ledger.append(draft('outcome')))
  await pass(0)
  for (let at = 2; at < 7; at++) {
    asked(at).answer(200, { indexes: [null], limits: ['ledger.freeBytes, 256 MiB'] })
    await pass(1_000)
  }
  expect(await lost).toMatchObject({ limit: { name: 'ledger.freeBytes' } })
  await pass(10_000)
  expect(count()).toBe(7)
})

test('the end of an exchange is sent again when the connection breaks, a bounded number of times', async () => {
  const { ledger, asked, count, pass } = openSlowFabric()
  const kept = ledger.append(draft('outcome'))
  asked(0).fail()
  await pass(1_000)
  asked(1).answer(502, {})
  await pass(2_000)
  // The first copy is being recorded at this moment.
  asked(2).answer(200, { indexes: [null] })
  await pass(4_000)
  asked(3).take()
  expect(await kept).toMatchObject({ kind: 'outcome' })
  const lost = failureOf(ledger.append(draft('outcome')))
  await pass(0)
  for (let at = 4; at < 9; at++) {
    asked(at).fail()
    await pass(20_000)
  }
  expect(await lost).toBeInstanceOf(Error)
  await pass(60_000)
  expect(count()).toBe(9)
})

test('an entry that opens an exchange is not sent again, nor an end that the fabric refused', async () => {
  const { ledger, asked, count, pass } = openSlowFabric()
  const opening = failureOf(ledger.append(draft('intent')))
  asked(0).fail()
  expect(await opening).toBeInstanceOf(Error)
  const refused = failureOf(ledger.append(draft('outcome')))
  await pass(0)
  asked(1).answer(200, { indexes: [null] })
  expect(await refused).toBeInstanceOf(Error)
  const denied = failureOf(ledger.append(draft('outcome')))
  await pass(0)
  asked(2).answer(403, {})
  expect(await denied).toBeInstanceOf(Error)
  await pass(60_000)
  expect(count()).toBe(3)
})

test.each([
  ['limits.openExchanges, 8192', 8192],
  ['ledger.waitMs, 5 s', 5_000],
  ['ledger.freeBytes, 256 MiB', 256 * 1024 * 1024],
])('a limit of the fabric reaches the caller by its name: %s', async (text, value) => {
  const whole = openSlowFabric()
  const appended = failureOf(whole.ledger.append(draft('intent')))
  whole.asked(0).answer(429, { code: 'RATE_LIMITED', limit: text })
  const name = text.split(',')[0]
  expect(await appended).toMatchObject({ name: 'LedgerBusy', limit: { name, value } })
  const first = whole.ledger.append(draft('intent'))
  const others = [failureOf(whole.ledger.append(draft('intent'))), draft('intent')] as const
  const taken = whole.ledger.append(others[1])
  whole.asked(1).take()
  await first
  await whole.pass(0)
  whole.asked(2).answer(200, { indexes: [null, 7], limits: [text, null] })
  expect(await others[0]).toMatchObject({ name: 'LedgerBusy', limit: { name, value } })
  expect(await taken).toMatchObject({ index: 7 })
})

test('any other failure is none of a limit', async () => {
  for (const body of [{}, { limit: 7 }, { limit: 'x' }, { limit: 'no such thing, many' }]) {
    const { ledger, asked } = openSlowFabric()
    const appended = failureOf(ledger.append(draft('intent')))
    asked(0).answer(503, body)
    expect(await appended).toBeInstanceOf(Error)
    expect(await appended).not.toBeInstanceOf(LedgerBusy)
  }
})

test('a chain goes on while its batches are recorded, and none has a number twice', async () => {
  const { ledger, asked, pass } = openSlowFabric()
  const recorded = async (at: number) => {
    const appended = ledger.append(draft('intent'))
    await pass(0)
    asked(at).take()
    await appended
    return asked(at)
  }
  const first = await recorded(0)
  const second = await recorded(1)
  expect(first.statement).toMatchObject({ n: 0, prev: new Uint8Array(32), size: 1 })
  expect(second.statement).toMatchObject({
    ...{ n: 1, chain: first.statement.chain, prev: sha256(first.bytes) },
  })
  const lost = failureOf(ledger.append(draft('intent')))
  await pass(0)
  asked(2).fail()
  await lost
  const third = await recorded(3)
  expect(third.statement).toMatchObject({ n: 0, prev: sha256(second.bytes) })
  expect(third.statement.chain).not.toEqual(second.statement.chain)
  const refused = failureOf(ledger.append(draft('intent')))
  await pass(0)
  // Nothing of it was new, so that the log has no batch of that number.
  asked(4).answer(200, { indexes: [3], batch: null })
  await refused
  expect((await recorded(5)).statement).toMatchObject({ n: 0, prev: sha256(third.bytes) })
})

test('a batch has entries of one log, for which it is stated', async () => {
  const { ledger, asked, pass } = openSlowFabric()
  const waiting = [ledger.append(draft('intent'))]
  for (const slot of ['a', 'b', 'b']) waiting.push(ledger.append(draft('intent', 'a', slot)))
  for (const at of [0, 1, 2]) {
    asked(at).take()
    await pass(0)
  }
  await Promise.all(waiting)
  const stated = [0, 1, 2].map((at) => asked(at).statement)
  expect(stated.map(({ size }) => size)).toEqual([1, 1, 2])
  expect(stated.map(({ origin }) => origin)).toEqual([
    ...['a.test/ledger/a', 'a.test/ledger/a', 'a.test/ledger/b'],
  ])
  expect(stated.map(({ n }) => n)).toEqual([0, 1, 0])
})
