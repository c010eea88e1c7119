import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  type BatchStatement,
  encodePackedBatch,
  type MeshEntry,
  type PackedEntry,
  parseReceipt,
  verifyReceipt,
} from '@countersign/protocol'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { expect, inject } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { ShiftedClock } from '../harness/clock.ts'
import { agentId, refusalOf, send } from '../harness/doors.ts'
import { decidedIn, meshEntry, record, sendBatch } from '../harness/entries.ts'
import type { Heard } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { sha256 } from '../harness/signed.ts'
import { packedAs, type Stater, statedBatch } from '../harness/stated-batches.ts'
import { openTestFabric, putPolicies, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const chainOf = () => new Uint8Array(randomBytes(16))

interface Batch {
  readonly thief: Identity
  readonly entries: readonly PackedEntry[]
  readonly exchanges: readonly string[]
}

/** Entries that are recorded where their statement is right. */
async function honest(world: World, count = 2): Promise<Batch> {
  const thief = await world.agent('thief', ['caller'])
  const entries = await decidedIn(
    world,
    Array.from({ length: count }, () => meshEntry()),
  )
  const exchanges = entries.map(({ exchange }) => exchange)
  return { thief, entries: entries.map((entry) => packedAs(thief, entry)), exchanges }
}

function sendAs(world: World, { thief, entries }: Batch, statement: Uint8Array): Promise<Heard> {
  return sendBatch(world, thief, encodePackedBatch({ statement, entries }))
}

const answerOf = (heard: Heard) =>
  JSON.parse(heard.body.toString()) as { indexes: (number | null)[]; batch: number | null }

/** Nothing of the batch is on record, and its refusal is. */
async function expectRefused(world: World, batch: Batch, heard: Heard): Promise<void> {
  expect(refusalOf(heard)).toBe('NOT_PERMITTED')
  for (const exchange of batch.exchanges) await expect(world.explain(exchange)).rejects.toThrow()
  const [refusal] = await world.explain(exchangeOf(heard))
  expect(refusal).toMatchObject({ kind: 'refusal', facts: { caller: agentId('thief') } })
}

/** A batch of which the statement is wrong in one place. */
const wrong =
  (
    change: (world: World) => Partial<BatchStatement> | Promise<Partial<BatchStatement>>,
    signer: (world: World, thief: Identity) => Stater | Promise<Stater> = (_, thief) => thief,
  ): Attempt =>
  async (world) => {
    const batch = await honest(world)
    const { thief, entries } = batch
    const stater = { ...(await signer(world, thief)), spiffeId: thief.spiffeId }
    const statement = statedBatch(stater, entries, await change(world))
    await expectRefused(world, batch, await sendAs(world, batch, statement))
  }

/** A right statement that is sent with other leaves. */
const withLeaves =
  (edit: (entries: readonly PackedEntry[]) => readonly PackedEntry[]): Attempt =>
  async (world) => {
    const batch = await honest(world, 3)
    const statement = statedBatch(batch.thief, batch.entries)
    const changed = { ...batch, entries: edit(batch.entries) }
    await expectRefused(world, batch, await sendAs(world, changed, statement))
  }

/** Records the first batch of a chain. */
async function begun(world: World) {
  const batch = await honest(world)
  const chain = chainOf()
  const statement = statedBatch(batch.thief, batch.entries, { chain })
  const heard = await sendAs(world, batch, statement)
  expect(heard.status).toBe(200)
  return { batch, chain, statement, answer: answerOf(heard) }
}

/** After the first batch of a chain, one that does not follow it. */
const following =
  (change: (statement: Uint8Array) => Partial<BatchStatement>): Attempt =>
  async (world) => {
    const { chain, statement } = await begun(world)
    const batch = await honest(world)
    const next = statedBatch(batch.thief, batch.entries, { chain, ...change(statement) })
    await expectRefused(world, batch, await sendAs(world, batch, next))
    // The chain has not ended by that.
    const right = { chain, n: 1, prev: sha256(statement) }
    const heard = await sendAs(world, batch, statedBatch(batch.thief, batch.entries, right))
    expect(heard.status).toBe(200)
  }

const order = { roles: ['caller'], segment: '', attributes: {} } as const

/** The fabric of a folder, with an agent that records what it receives from itself. */
async function openOwnFabric(dir: string, clock: ShiftedClock) {
  const fabric = await openTestFabric(dir, clock, {})
  const enrol = async (name: string, kind: 'agent' | 'user', roles: readonly string[]) => {
    const { join: line } = await fabric.invite({ ...order, roles, kind, name, ttlSeconds: 900 })
    const own = { dir: join(dir, name), clock }
    return openIdentity({ ...own, join: line, onFault: () => undefined })
  }
  return { fabric, enrol }
}

const administered =
  ({ connection }: Identity): World['admin'] =>
  async (operation, args = {}) => {
    const value = { operation, args }
    const answer = await askControl(connection, { method: 'POST', path: '/v1/admin', value })
    return (answer as { readonly result: unknown }).result
  }

async function postBatch({ connection }: Identity, body: Uint8Array) {
  const headers = [['content-type', 'application/cbor']] as const
  const response = await connection.request({
    ...{ method: 'POST', path: '/v1/mesh/entries', repeatable: false, headers, body },
  })
  const chunks: Uint8Array[] = []
  for await (const chunk of response.body) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  return {
    status: response.status,
    answer: JSON.parse(text) as { readonly [name: string]: unknown },
  }
}

const restarted: Attempt = async () => {
  const dir = mkdtempSync(join(inject('worldsDir'), 'batches-'))
  const clock = new ShiftedClock()
  const first = await openOwnFabric(dir, clock)
  const thief = await first.enrol('thief', 'agent', ['caller'])
  const operator = await first.enrol('operator', 'user', ['operator'])
  const admin = administered(operator)
  await putPolicies(admin)
  const own = () => meshEntry({ facts: { caller: agentId('thief') } })
  const packed = async () =>
    (await decidedIn({ admin }, [own(), own()])).map((entry) => packedAs(thief, entry))
  const chain = chainOf()
  const [one, two, three] = [await packed(), await packed(), await packed()]
  const statement = statedBatch(thief, one, { chain })
  const body = encodePackedBatch({ statement, entries: one })
  const recorded = await postBatch(thief, body)
  expect(recorded.status).toBe(200)
  thief.close()
  operator.close()
  await first.fabric.close(0)
  const second = await openOwnFabric(dir, clock)
  const known = { onFault: () => undefined, clock, join: undefined, url: second.fabric.origin }
  const again = await openIdentity({ ...known, dir: join(dir, 'thief') })
  expect(await postBatch(again, body)).toEqual(recorded)
  const other = statedBatch(thief, two, { chain })
  const forked = await postBatch(again, encodePackedBatch({ statement: other, entries: two }))
  expect(forked.answer).toMatchObject({ code: 'NOT_PERMITTED' })
  const next = statedBatch(thief, three, { chain, n: 1, prev: sha256(statement) })
  const gone = await postBatch(again, encodePackedBatch({ statement: next, entries: three }))
  expect(gone).toMatchObject({ status: 200, answer: { batch: expect.any(Number) as number } })
  again.close()
  await second.fabric.close(0)
  rmSync(dir, { recursive: true, force: true })
}

attack(
  verifies(
    ['record:append-only'],
    'a connector’s entries are recorded under a statement of its own key, and in its order',
  ),
  {
    gateway: 'a connector states entries of the mesh',
    mesh: {
      'stated for another producer': wrong(() => ({ producer: agentId('caller') })),
      'stated for the log of another slot': wrong(() => ({ origin: 'countersign.local/ledger/b' })),
      'stated for the log of another fabric': wrong(() => ({ origin: 'other.test/ledger/a' })),
      'signed by the key of another agent': wrong(
        () => ({}),
        (world) => world.caller,
      ),
      'signed by another key under its own id': wrong(
        () => ({}),
        ({ caller }, { spiffeId, signing: { keyId } }) => ({
          ...{ spiffeId, signing: { keyId, privateKey: caller.signing.privateKey } },
        }),
      ),
      'of another size': wrong(() => ({ size: 3 })),
      'of another root': wrong(() => ({ root: new Uint8Array(32) })),
      'stated more than five minutes ago': wrong(() => ({ at: Date.now() - 310_000 })),
      'stated for a time to come': wrong(() => ({ at: Date.now() + 310_000 })),
      'without its last leaf': withLeaves((entries) => entries.slice(0, -1)),
      'with its leaves in another order': withLeaves((entries) => entries.toReversed()),
      'with a leaf twice': withLeaves((entries) => [...entries, ...entries.slice(-1)]),
      'that begins a chain in the middle': wrong(() => ({ n: 1, prev: new Uint8Array(32) })),
      'with a number left out': following((statement) => ({ n: 2, prev: sha256(statement) })),
      'after another statement': following((statement) => ({
        n: 1,
        prev: sha256(sha256(statement)),
      })),
      'under a number that another one has': following(() => ({ n: 0 })),
      'in the chain of another connector': async (world) => {
        const { chain, statement } = await begun(world)
        const mallory = await world.agent('mallory', ['caller'])
        const facts = { receiver: 'mallory', producer: mallory.spiffeId }
        const [entry] = await decidedIn(world, [meshEntry({ facts })])
        const entries = [packedAs(mallory, entry as MeshEntry)]
        const next = { chain, n: 1, prev: sha256(statement) }
        for (const change of [next, { chain }]) {
          const stated = statedBatch(mallory, entries, change)
          const body = encodePackedBatch({ statement: stated, entries })
          expect(refusalOf(await sendBatch(world, mallory, body))).toBe('NOT_PERMITTED')
        }
      },
      'and sent again, it has the indexes that it had': async (world) => {
        const { batch, statement, answer } = await begun(world)
        const again = await sendAs(world, batch, statement)
        expect(answerOf(again)).toEqual(answer)
        expect(await world.explain(batch.exchanges[0] ?? '')).toHaveLength(1)
      },
      'sent twice at once, it is recorded once': async (world) => {
        const batch = await honest(world)
        const statement = statedBatch(batch.thief, batch.entries)
        await Promise.all(Array.from({ length: 4 }, () => sendAs(world, batch, statement)))
        const answer = answerOf(await sendAs(world, batch, statement))
        expect(answer.indexes).toEqual([expect.any(Number), expect.any(Number)])
        expect(await world.explain(batch.exchanges[1] ?? '')).toHaveLength(1)
      },
      'and what is refused of it has no index, also when it is sent again': async (world) => {
        const batch = await honest(world)
        const bad = packedAs(batch.thief, meshEntry({ facts: { receiver: 'echo' } }))
        const mixed = { ...batch, entries: batch.entries.toSpliced(1, 0, bad) }
        const statement = statedBatch(batch.thief, mixed.entries)
        const answer = answerOf(await sendAs(world, mixed, statement))
        expect(answer.indexes).toEqual([expect.any(Number), null, expect.any(Number)])
        expect(answer.batch).toBe((answer.indexes[2] ?? 0) + 1)
        expect(answerOf(await sendAs(world, mixed, statement))).toEqual(answer)
      },
      'and each of its entries has a receipt with the statement and its own place': async (
        world,
      ) => {
        const { thief, entries, exchanges } = await honest(world, 3)
        const bad = packedAs(thief, meshEntry({ facts: { receiver: 'echo' } }))
        const mixed = { thief, exchanges, entries: entries.toSpliced(1, 0, bad) }
        const statement = statedBatch(thief, mixed.entries)
        expect((await sendAs(world, mixed, statement)).status).toBe(200)
        const ends = exchanges.map((exchange) => meshEntry({ exchange, kind: 'outcome' }))
        expect((await record(world, ends)).status).toBe(200)
        for (const [at, exchange] of exchanges.entries()) {
          const path = `/v1/receipts/${exchange}`
          const as = thief.credential()
          const { body } = await send(world.control, { method: 'GET', path, body: null, as })
          const [opening, ending] = parseReceipt(body).entries
          expect(opening?.stated?.statement).toEqual(statement)
          expect([opening?.stated?.index, ending?.stated?.index]).toEqual([
            at === 0 ? 0 : at + 1,
            at,
          ])
          const stated = { producer: thief.spiffeId, stated: { keyId: thief.signing.keyId } }
          const verified = await verifyReceipt(body, world.caller.trust)
          expect(verified.entries).toMatchObject([stated, stated])
        }
      },
      'and after a restart, the chain goes on where it was': restarted,
    },
    queue: 'a connector states entries of the mesh',
  },
)
