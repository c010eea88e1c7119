import { generateKeyPairSync, sign } from 'node:crypto'
import {
  type BatchStatement,
  draftBatch,
  keyThumbprint,
  noBatchBefore,
  treeRootWith,
  verifyEd25519,
} from '@countersign/protocol'
import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import { BatchIntake, batchId, chainsKnownMax, type ReceivedBatch } from './batch-intake.ts'
import type { OpenedEntry } from './ledger-reads.ts'

const now = 1_800_000_000_000
const connector = { principal: 'spiffe://a.test/agent/bob', name: 'bob' }
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const raw = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))
const keyId = await keyThumbprint('Ed25519', raw)
const fault = new Error('not read here') as never

/** A log that holds what is released, and counts how often a batch is sought in it. */
function openIntake() {
  const log = new Map<string, OpenedEntry>()
  let lookups = 0
  const intake = new BatchIntake({
    ledger: {
      origin: 'a.test/ledger/a',
      findBatch(id) {
        lookups += 1
        return Promise.resolve(log.get(id) ?? null)
      },
    },
    findKey: () => ({ keyId, publicKey: raw }),
    verify: verifyEd25519,
  })
  return { intake, log, lookups: () => lookups }
}

function batchOf(change: Partial<BatchStatement> = {}, leaf = 1): ReceivedBatch {
  const leafHash = Buffer.alloc(32, leaf)
  const draft = draftBatch(
    {
      ...{ origin: 'a.test/ledger/a', producer: connector.principal, at: now },
      ...{ chain: new Uint8Array(16), n: 0, prev: noBatchBefore, size: 1 },
      ...{ root: Uint8Array.from(treeRootWith(sha256, [leafHash])), ...change },
    },
    keyId,
  )
  const signature = new Uint8Array(sign(null, draft.signed, privateKey))
  return { statement: draft.encode(signature), entries: [{ leafHash, fault }] }
}

/** Accepts a batch and records it. */
async function recorded({ intake, log }: ReturnType<typeof openIntake>, batch: ReceivedBatch) {
  const accepted = await intake.accept(batch, connector, now)
  if (accepted instanceof Refusal) throw new Error(accepted.detail)
  const draft = accepted.entryAbout(() => true, now)
  log.set(draft.exchange, { ...draft, index: 7 })
  accepted.release({ entries: [], index: 7 })
}

test('one batch of a chain is recorded at a time, and the next when it is released', async () => {
  const { intake } = openIntake()
  const first = await intake.accept(batchOf(), connector, now)
  if (first instanceof Refusal) throw new Error(first.detail)
  expect(await intake.accept(batchOf(), connector, now)).toMatchObject({
    ...{ code: 'OVERLOADED', limit: 'mesh.batchesAtOnce, 1' },
  })
  const other = batchOf({ chain: new Uint8Array(16).fill(1) })
  expect(await intake.accept(other, connector, now)).not.toBeInstanceOf(Refusal)
  // Nothing of it was recorded: its number is free.
  first.release(null)
  expect(await intake.accept(batchOf({}, 2), connector, now)).not.toBeInstanceOf(Refusal)
})

test('the next batch of a known chain needs no look into the log, after a start it needs two', async () => {
  const opened = openIntake()
  const first = batchOf()
  await recorded(opened, first)
  const before = opened.lookups()
  const second = batchOf({ n: 1, prev: Uint8Array.from(sha256(first.statement)) })
  await recorded(opened, second)
  expect(opened.lookups()).toBe(before)
  const anew = openIntake()
  for (const [id, entry] of opened.log) anew.log.set(id, entry)
  const third = batchOf({ n: 2, prev: Uint8Array.from(sha256(second.statement)) })
  expect(await anew.intake.accept(third, connector, now)).toMatchObject({ recorded: null })
  expect(anew.lookups()).toBe(2)
  const forked = batchOf({ n: 1, prev: Uint8Array.from(sha256(first.statement)) }, 2)
  const fork = await openIntakeOn(opened.log).accept(forked, connector, now)
  expect(fork).toMatchObject({ detail: 'another batch is on record under the same number' })
})

function openIntakeOn(log: ReadonlyMap<string, OpenedEntry>): BatchIntake {
  const opened = openIntake()
  for (const [id, entry] of log) opened.log.set(id, entry)
  return opened.intake
}

test('a flood of chains costs other connectors a look into the log, and not their chain', async () => {
  const opened = openIntake()
  const first = batchOf()
  await recorded(opened, first)
  for (let at = 0; at <= chainsKnownMax; at++) {
    const chain = new Uint8Array(16)
    new DataView(chain.buffer).setUint32(0, at + 1)
    const accepted = await opened.intake.accept(batchOf({ chain }), connector, now)
    if (accepted instanceof Refusal) throw new Error(accepted.detail)
    accepted.release({ entries: [], index: 7 })
  }
  const before = opened.lookups()
  const second = batchOf({ n: 1, prev: Uint8Array.from(sha256(first.statement)) })
  expect(await opened.intake.accept(second, connector, now)).toMatchObject({ recorded: null })
  expect(opened.lookups()).toBe(before + 2)
})

test('the id of a batch does not show its chain', () => {
  const chain = new Uint8Array(16)
  expect(batchId(chain, 0)).toMatch(/^bat_[0-9a-f]{32}$/)
  expect(batchId(chain, 1)).not.toBe(batchId(chain, 0))
})
