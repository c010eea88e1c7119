import { verifyReceipt } from '@countersign/protocol'
import { beforeAll, expect, test } from 'vitest'
import {
  type AgedLedger,
  agedCaller,
  agedFrom,
  agedKeys,
  agedLimits,
  agedPolicy,
  appendAt,
  copyAged,
  createAged,
  dayMs,
  delivered,
  fillTo,
  idAt,
  intended,
  logPaths,
  openAged,
} from '../../../../tools/crash/aged-ledger.ts'
import type { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { testOrigin, trustOf } from '../../../../tools/crash/lossy-ledger.ts'
import { CheckpointKey } from './checkpoint.ts'
import { EntriesPruned } from './ledger-reads.ts'
import type { LedgerOptions } from './open-ledger.ts'
import { policyDigest, type RetentionPolicy } from './retention-policy.ts'
import { LedgerDamage } from './store.ts'

let base: AgedLedger

beforeAll(async () => {
  base = await createAged()
})

async function aged(options: Partial<LedgerOptions> = {}) {
  const own = await copyAged(base)
  return { ...own, own, ledger: await openAged(own, options) }
}

const hex = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : 'not bytes'

const isCaller = (name: string): boolean => name === 'a'

test('entries that are older than the policy go, their proofs and receipts stay', async () => {
  const { own, disk, clock, ledger, old, recent } = await aged()
  const trust = trustOf(ledger)
  const some = old.filter((_, i) => i % 16 === 0)
  const receipts = await Promise.all(some.map((id) => ledger.findReceipt(id)))
  const before = logPaths(disk)
  const plan = await ledger.pruning.plan()
  expect(plan).toMatchObject({ first: 0, minimum: 512, keepDays: 30, keptBy: 'publication' })
  expect(plan).toMatchObject({ oldestAt: agedFrom, newestAt: agedFrom })
  expect(plan.bytes).toBeGreaterThan(100_000)
  expect(logPaths(disk)).toEqual(before)

  const operation = idAt(clock)
  const done = await ledger.pruning.prune({ exchange: operation })
  expect(done).toMatchObject({ first: 0, minimum: 512, failed: 0, keptBy: 'publication' })
  expect(ledger.first).toBe(512)
  const gone = before.filter((path) => !logPaths(disk).includes(path))
  const removed = ['tile/entries/000', 'tile/entries/001', 'detail/000', 'index/7']
  expect(gone).toEqual(expect.arrayContaining(removed))
  expect(gone.filter((path) => /^tile\/[0-9]/.test(path))).toEqual([])
  expect(logPaths(disk)).not.toContain('pruning')

  const kept = await ledger.findReceipt(recent[0] ?? '')
  for (const receipt of [...receipts, kept]) {
    expect(await verifyReceipt(receipt ?? new Uint8Array(), trust)).toBeDefined()
  }
  expect((await ledger.check()).entries).toBe(ledger.size)

  const [entry] = (await ledger.read(done.entry ?? 0, 1)).entries
  const facts = { 'log.from': 0, 'log.minimum': 512, 'changed-by': operation }
  expect(entry).toMatchObject({ kind: 'lifecycle', facts: { event: 'log-pruned', ...facts } })
  expect(hex(policyDigest(agedPolicy))).toBe(hex(entry?.facts['policy.digest']))
  const note = Buffer.from((await ledger.findResource('retention')) ?? []).toString()
  const stated = new CheckpointKey(testOrigin, agedKeys.logKey).parseRetention(note)
  expect(stated).toMatchObject({ minimum: 512, entry: done.entry, keepDays: 30 })
  expect(hex(stated.root)).toBe(hex(entry?.facts['log.root']))
  await ledger.close()

  const again = await openAged(own)
  expect(again.first).toBe(512)
  expect((await again.check()).entries).toBe(again.size)
  await again.close()
})

test('what was pruned is answered with the reason, before and after a start', async () => {
  const { own, ledger, old, recent } = await aged()
  await ledger.pruning.prune({ exchange: null })
  for (const each of [ledger, null]) {
    const log = each ?? (await openAged(own))
    const id = old[0] ?? ''
    expect(await log.findReceipt(id)).toBeNull()
    expect(await log.explain(id)).toEqual([])
    expect(log.pruning.mayHave(id)).toBe(true)
    expect(log.pruning.mayHave(recent[0] ?? '')).toBe(false)
    const pruned = { name: 'EntriesPruned', first: 512 }
    await expect(log.read(511, 1)).rejects.toMatchObject(pruned)
    expect(() => log.follow({ from: 0, owner: 'x' })).toThrow(EntriesPruned)
    await expect(log.list({ countMax: 5, after: 100 })).rejects.toMatchObject(pruned)
    expect(await log.findResource('tile/entries/001')).toBeNull()
    expect(log.pruning.hasResource('tile/entries/001')).toBe(true)
    expect(log.pruning.hasResource('tile/entries/002')).toBe(false)
    expect(await log.findResource('tile/0/001')).not.toBeNull()
    expect((await log.read(512, 2)).entries.map(({ index }) => index)).toEqual([512, 513])
    const first = await log.follow({ from: 512, owner: 'x' }).next()
    expect(first.value?.index).toBe(512)
    const { lines, older } = await log.list({ countMax: 1_000 })
    expect(older).toBeNull()
    const listed = lines.map(({ exchange }) => exchange)
    expect(listed).toEqual(expect.arrayContaining([...recent]))
    expect(listed).not.toContain(id)
    const terms = [{ table: 'caller', values: [agedCaller] }] as const
    const found = await log.list({ countMax: 1_000, terms })
    expect(found.lines.length).toBeGreaterThanOrEqual(recent.length)
    await log.close()
  }
})

test('an exchange across the minimum has no receipt, and its rest stays sound', async () => {
  const { own, clock, ledger } = await aged({ retention: { keepDays: 300, holds: [] } })
  await fillTo(ledger, clock, 760)
  const across = idAt(clock)
  await appendAt(ledger, clock, { kind: 'intent', exchange: across, facts: intended })
  await fillTo(ledger, clock, 780)
  await appendAt(ledger, clock, { kind: 'outcome', exchange: across, facts: delivered })
  clock.pass(400 * dayMs)
  await fillTo(ledger, clock, 1_040)
  await ledger.flush()
  await ledger.pruning.prune({ exchange: null })
  for (const each of [ledger, null]) {
    const log = each ?? (await openAged(own))
    expect(log.first).toBe(768)
    expect(await log.findReceipt(across)).toBeNull()
    expect(log.pruning.mayHave(across)).toBe(true)
    expect((await log.explain(across)).map(({ kind }) => kind)).toEqual(['outcome'])
    expect((await log.check()).unclosed).toBe(0)
    await log.close()
  }
})

const hold = { name: 'case-7', reason: 'court', from: agedFrom - dayMs, until: agedFrom + dayMs }

test.each<[string, RetentionPolicy | null, object]>([
  ['without a policy', null, { keptBy: 'policy' }],
  ['under a hold', { keepDays: 30, holds: [hold] }, { keptBy: 'hold', keptByName: 'case-7' }],
  ['that is young', { keepDays: 90, holds: [] }, { keptBy: 'age' }],
])('nothing goes %s', async (_, retention, expected) => {
  const { disk, ledger } = await aged({ retention })
  const before = logPaths(disk)
  expect(await ledger.pruning.plan()).toMatchObject({ minimum: 0, bytes: 0, ...expected })
  const { size } = ledger
  expect(await ledger.pruning.prune({ exchange: null })).toMatchObject({ entry: null, ...expected })
  expect(ledger.size).toBe(size)
  expect(logPaths(disk)).toEqual(before)
  await ledger.close()
})

test('a hold of another time, a consumer, an erasure, and a clock that is wrong', async () => {
  const later = { ...hold, from: agedFrom + 30 * dayMs, until: agedFrom + 3_000 * dayMs }
  const { clock, ledger } = await aged({ retention: { keepDays: 30, holds: [later] } })
  const release = ledger.pruning.keepFrom('exporter', () => 300)
  expect(await ledger.pruning.plan()).toMatchObject({
    ...{ minimum: 256, keptBy: 'reader', keptByName: 'exporter' },
  })
  release()
  clock.wall += 365 * dayMs
  expect(await ledger.pruning.prune({ exchange: null })).toMatchObject({
    minimum: 0,
    keptBy: 'clock',
  })
  clock.wall -= 365 * dayMs + 45 * dayMs
  expect(await ledger.pruning.prune({ exchange: null })).toMatchObject({
    minimum: 0,
    keptBy: 'age',
  })
  clock.wall += 45 * dayMs
  const open = idAt(clock)
  await appendAt(ledger, clock, { kind: 'intent', exchange: open, facts: intended })
  const erasure = { exchange: 'exc_e', isSubject: isCaller }
  expect(await ledger.erase(erasure)).toMatchObject({ underWay: 1 })
  expect(await ledger.pruning.prune({ exchange: null })).toMatchObject({
    minimum: 0,
    keptBy: 'erasure',
  })
  await appendAt(ledger, clock, { kind: 'outcome', exchange: open, facts: delivered })
  await ledger.erase(erasure)
  expect(await ledger.pruning.prune({ exchange: null })).toMatchObject({ minimum: 512 })
  await ledger.close()
})

test('an exchange under way keeps its intent, and all that follows', async () => {
  const { clock, ledger } = await aged()
  const open = idAt(clock)
  await appendAt(ledger, clock, { kind: 'intent', exchange: open, facts: intended })
  await fillTo(ledger, clock, 1_040)
  await ledger.flush()
  // Nothing is appended meanwhile, which would end exchanges that are open for too long.
  clock.pass(400 * dayMs)
  const kept = { minimum: 512, keptBy: 'exchange', keptByName: open }
  expect(await ledger.pruning.prune({ exchange: null })).toMatchObject({ minimum: 512 })
  expect(await ledger.pruning.plan()).toMatchObject(kept)
  await ledger.close()
})

test('an erasure states the pruned entries as well, as a check counts them', async () => {
  const { ledger } = await aged()
  await ledger.pruning.prune({ exchange: null })
  const left = await ledger.countEntries(isCaller)
  const { entries } = await ledger.erase({ exchange: 'exc_e', isSubject: isCaller })
  expect(entries).toBeGreaterThan(left + 200)
  await ledger.check()
  await ledger.close()
})

test('two prunings are one after the other, beside a check; a flood of plans is one', async () => {
  const { disk, ledger } = await aged()
  const plans = await Promise.all(Array.from({ length: 500 }, () => ledger.pruning.plan()))
  expect(new Set(plans).size).toBeLessThanOrEqual(2)
  const checked = ledger.check()
  const all = await Promise.all(
    Array.from({ length: 50 }, () => ledger.pruning.prune({ exchange: null })),
  )
  await checked
  expect(all.filter(({ entry }) => entry !== null)).toHaveLength(1)
  expect(logPaths(disk).filter((path) => path.startsWith('pruned/'))).toEqual(['pruned/512'])
  await ledger.close()
  const closed = ledger.pruning.prune({ exchange: null })
  await expect(closed).rejects.toMatchObject({ name: 'LedgerUnavailable' })
})

test('one pruning removes so many units at most, and rounds go on by themselves', async () => {
  const limits = { ...agedLimits, pruneUnitsMax: 1 }
  const { ledger } = await aged({ limits })
  expect(await ledger.pruning.prune({ exchange: null })).toMatchObject({
    minimum: 256,
    keptBy: 'turn',
  })
  await ledger.close()
  const rounds = await aged({ limits: { ...limits, pruneSoonMs: 5 } })
  await expect.poll(() => rounds.ledger.first).toBe(512)
  await rounds.ledger.close()
})

async function place(
  disk: LossyDisk,
  name: string,
  text: string,
  encoding: BufferEncoding = 'utf8',
): Promise<void> {
  const file = await disk.open(`/ledger/log/${name}`, 'create')
  await file.write(0, Buffer.from(text, encoding))
  await file.close()
}

test('a changed note or state, and a note that is gone, are damage', async () => {
  const { own, disk, ledger } = await aged()
  await ledger.pruning.prune({ exchange: null })
  await ledger.close()
  const note = disk.readWhole('/ledger/log/retention').toString()
  const state = disk.readWhole('/ledger/log/pruned/512').toString()
  for (const changed of [note.replace('\n512\n', '\n256\n'), note.slice(0, -9), '', 'x']) {
    await place(disk, 'retention', changed)
    await expect(openAged(own)).rejects.toThrow('retention note')
  }
  await place(disk, 'retention', note)
  await place(disk, 'pruned/512', state.replace('"v":1', '"v":1 '))
  await expect(openAged(own)).rejects.toThrow('state of the pruned entries')
  await place(disk, 'pruned/512', state)
  await disk.remove('/ledger/log/retention')
  await expect(openAged(own)).rejects.toThrow(LedgerDamage)
})

test('a damaged intent is refused with what to do, and one without its entry is dropped', async () => {
  const { own, disk, clock, ledger, old } = await aged()
  await ledger.close()
  for (const text of ['', '{"v":1', '{"v":1,"minimum":-256,"exchange":"x"}', 'null']) {
    await place(disk, 'pruning', text)
    await expect(openAged(own)).rejects.toThrow('remove the file')
  }
  await place(disk, 'pruning', JSON.stringify({ v: 1, minimum: 512, exchange: old[0] }))
  await expect(openAged(own)).rejects.toThrow('does not record a pruning')
  expect(logPaths(disk)).toContain('tile/entries/000')
  await place(disk, 'pruning', JSON.stringify({ v: 1, minimum: 512, exchange: idAt(clock) }))
  const again = await openAged(own)
  expect(again.first).toBe(0)
  expect(logPaths(disk)).not.toContain('pruning')
  await again.close()
})

test.each<[string, RetentionPolicy | null]>([
  ['a hold', { keepDays: 30, holds: [hold] }],
  ['no policy', null],
])('a pruning that a crash left is not completed where there is %s now', async (_, retention) => {
  const { own, disk, ledger } = await aged()
  const before = new Map(
    logPaths(disk)
      .filter((path) => !path.startsWith('/'))
      .map((path) => [path, disk.readWhole(`/ledger/log/${path}`).toString('latin1')]),
  )
  const { entry } = await ledger.pruning.prune({ exchange: null })
  const exchange = (await ledger.read(entry ?? 0, 1)).entries[0]?.exchange
  await ledger.close()
  // As if the process had ended behind the entry.
  for (const [path, text] of before) {
    if (!logPaths(disk).includes(path)) await place(disk, path, text, 'latin1')
  }
  for (const path of ['retention', 'pruned/512']) await disk.remove(`/ledger/log/${path}`)
  await place(disk, 'pruning', JSON.stringify({ v: 1, minimum: 512, exchange }))
  const again = await openAged(own, { retention })
  expect(again.first).toBe(0)
  expect(logPaths(disk)).not.toContain('pruning')
  expect((await again.check()).entries).toBe(again.size)
  await again.close()
  // Under the policy of before, the next pruning goes on as any other.
  const third = await openAged(own)
  expect(await third.pruning.prune({ exchange: null })).toMatchObject({ first: 0, minimum: 512 })
  await third.close()
})

test('a start removes files of pruned entries that came back', async () => {
  const { own, disk, ledger } = await aged()
  const bundle = disk.readWhole('/ledger/log/tile/entries/000')
  await ledger.pruning.prune({ exchange: null })
  await ledger.close()
  await place(disk, 'tile/entries/000', bundle.toString('latin1'))
  const again = await openAged(own)
  expect(logPaths(disk)).not.toContain('tile/entries/000')
  await again.close()
})
