import { expect, test } from 'vitest'
import { type Fault, LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import {
  createLedgerKeys,
  type LedgerKeys,
  openLossyLedger,
} from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { memoryKeys } from '../../../../tools/crash/memory-keys.ts'
import { systemRandom } from '../lib/random.ts'
import type { FactValue, Ledger } from './ledger.ts'
import type { Term } from './ledger-reads.ts'
import { LedgerDamage } from './store.ts'
import { Subjects } from './subjects.ts'
import { LedgerBusy } from './unavailable.ts'

const file = '/ledger/subjects'
const idOf = (name: string) => `spiffe://ledger.test/agent/${name}`

/** A small log, whose segments are in files after a few entries. */
const limits = {
  groupEntriesMax: 4,
  publishEntries: 1,
  segmentEntries: 16,
  termSegmentEntries: 16,
  windowBytesMax: 2_000,
}

const askedOf = (caller: string, receiver: string): Record<string, FactValue> => ({
  ...{ transport: 'gateway', protocol: 'a2a', operation: 'message/send', receiver },
  ...{ caller: idOf(caller), 'caller.method': 'certificate', 'attested.request': 'fabric' },
})

async function call(ledger: Ledger, caller: string, receiver: string): Promise<string> {
  const exchange = newExchange()
  const facts = askedOf(caller, receiver)
  await ledger.append({ kind: 'intent', exchange, at: Date.now(), facts })
  const ended = { result: 'delivered', 'private.detail': `for ${caller}` }
  await ledger.append({ kind: 'outcome', exchange, at: Date.now(), facts: ended })
  return exchange
}

const erase = (ledger: Ledger, name: string, exchange = newExchange()) =>
  ledger.erase({ exchange, isSubject: (each) => each === name })

const isErased = async (ledger: Ledger, exchange: string): Promise<readonly boolean[]> =>
  (await ledger.explain(exchange)).map(({ erased, facts }) => {
    if (erased !== undefined) expect(facts).toEqual({})
    return erased !== undefined
  })

async function found(ledger: Ledger, ...terms: readonly Term[]): Promise<readonly string[]> {
  const { lines } = await ledger.list({ countMax: 100, terms })
  return lines.map(({ exchange }) => exchange)
}

const ofCaller = (name: string): Term => ({ table: 'caller', values: [idOf(name)] })

test('each new principal costs one sync, and none later', async () => {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const ledger = await openLossyLedger(disk, keys, { limits: { publishDelayMs: 3_600_000 } })
  const syncsOf = async (work: () => Promise<unknown>): Promise<number> => {
    disk.log.length = 0
    await work()
    return disk.log.filter((each) => each === 'sync').length
  }
  const refusal = (caller: string) => () =>
    ledger.append({
      ...{ kind: 'refusal', exchange: newExchange(), at: Date.now() },
      facts: { code: 'NOT_PERMITTED', caller: idOf(caller), 'caller.method': 'certificate' },
    })
  const before = await syncsOf(refusal('planner'))
  const known = await syncsOf(refusal('planner'))
  expect([before, known]).toEqual([2, 1])
  // Those that arrive together share it.
  const many = Array.from({ length: 8 }, (_, i) => refusal(`agent-${i}`))
  expect(await syncsOf(() => Promise.all(many.map((each) => each())))).toBeLessThan(8)
  await ledger.close()
})

test('a principal is durable before the first entry that names it', async () => {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const ledger = await openLossyLedger(disk, keys, { limits })
  const exchange = await call(ledger, 'planner', 'weather')
  disk.powerLoss('synced')
  const reopened = await openLossyLedger(disk, keys, { limits })
  expect(await isErased(reopened, exchange)).toEqual([false, false])
  await reopened.close()
})

test('nothing of an erased subject opens, and all else does [record:erasable]', async () => {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  let ledger = await openLossyLedger(disk, keys, { limits })
  const gone: string[] = []
  const kept: string[] = []
  for (let i = 0; i < 12; i++) {
    gone.push(await call(ledger, 'mallory', 'weather'), await call(ledger, 'planner', 'mallory'))
    kept.push(await call(ledger, 'planner', 'weather'))
  }
  const lost = newExchange()
  const asked = askedOf('mallory', 'weather')
  await ledger.append({ kind: 'intent', exchange: lost, at: Date.now(), facts: asked })
  const unknown = { result: 'unknown', code: 'OUTCOME_UNKNOWN' }
  await ledger.append({ kind: 'indeterminate', exchange: lost, at: Date.now(), facts: unknown })
  gone.push(lost)
  const receipt = await ledger.findReceipt(gone[0] ?? '')
  const size = ledger.size
  expect(receipt).not.toBeNull()
  expect(await found(ledger, ofCaller('mallory'))).toHaveLength(13)
  expect(await erase(ledger, 'mallory')).toEqual({ entries: 50, underWay: 0 })
  const demand = async () => {
    for (const exchange of gone) expect(await isErased(ledger, exchange)).toEqual([true, true])
    for (const exchange of kept) expect(await isErased(ledger, exchange)).toEqual([false, false])
    expect(await found(ledger, ofCaller('mallory'))).toEqual([])
    expect(await found(ledger, { table: 'receiver', values: ['mallory'] })).toEqual([])
    // Other parties' exchanges with it are gone too; an erased one has no result, not a wrong one.
    for (const result of ['refused', 'unknown', 'open']) {
      expect(await found(ledger, { table: 'result', values: [result] })).toEqual([])
    }
    expect((await found(ledger, ofCaller('planner'))).toSorted()).toEqual(kept.toSorted())
    expect(await ledger.findReceipt(gone[0] ?? '')).toBeNull()
    expect(await ledger.findReceipt(kept[0] ?? '')).not.toBeNull()
    expect((await ledger.list({ countMax: 100 })).lines.length).toBeGreaterThan(36)
    expect((await ledger.read(0, 200)).entries).toHaveLength(ledger.size)
    await ledger.check()
  }
  await demand()
  const erasure = (await ledger.read(size, 1)).entries[0]
  expect(erasure).toMatchObject({ kind: 'erasure', facts: { entries: 50 } })
  expect(JSON.stringify(erasure)).not.toContain('mallory')
  await ledger.close()
  ledger = await openLossyLedger(disk, keys, { limits })
  await demand()
  await ledger.close()
})

test('a principal that returns has another reference, and its old entries stay erased', async () => {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  let ledger = await openLossyLedger(disk, keys, { limits })
  const before = await call(ledger, 'mallory', 'weather')
  await erase(ledger, 'mallory')
  const after = await call(ledger, 'mallory', 'weather')
  for (let start = 0; start < 2; start++) {
    expect(await isErased(ledger, before)).toEqual([true, true])
    expect(await isErased(ledger, after)).toEqual([false, false])
    expect(await found(ledger, ofCaller('mallory'))).toEqual([after])
    await ledger.close()
    ledger = await openLossyLedger(disk, keys, { limits })
  }
  expect(await erase(ledger, 'mallory')).toEqual({ entries: 2, underWay: 0 })
  expect(await isErased(ledger, after)).toEqual([true, true])
  await ledger.close()
})

test('an exchange under way ends before its subject is erased, and new ones do not hold it up', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), createLedgerKeys(), { limits })
  const exchange = newExchange()
  const asked = { at: Date.now(), facts: askedOf('mallory', 'weather') }
  await ledger.append({ kind: 'intent', exchange, ...asked })
  const operation = newExchange()
  expect(await erase(ledger, 'mallory', operation)).toEqual({ entries: 0, underWay: 1 })
  const begun = newExchange()
  await ledger.append({ kind: 'intent', exchange: begun, ...asked })
  const facts = { result: 'delivered', 'private.detail': 'for mallory' }
  await ledger.append({ kind: 'outcome', exchange, at: Date.now(), facts })
  expect(await erase(ledger, 'mallory', operation)).toEqual({ entries: 2, underWay: 0 })
  expect(await isErased(ledger, exchange)).toEqual([true, true])
  expect(await isErased(ledger, begun)).toEqual([false])
  await ledger.append({ kind: 'outcome', exchange: begun, at: Date.now(), facts })
  await ledger.check()
  await ledger.close()
})

test('a refusal names what its caller asked for, which makes no subject of a made-up name', async () => {
  const disk = new LossyDisk()
  const known = (name: string) => name === 'weather'
  const keys = createLedgerKeys()
  const ledger = await openLossyLedger(disk, keys, { limits, isPrincipal: known })
  const refuse = async (receiver: string) => {
    const facts = { ...askedOf('planner', receiver), code: 'RECEIVER_UNKNOWN' }
    await ledger.append({ kind: 'refusal', exchange: newExchange(), at: Date.now(), facts })
  }
  await refuse('weather')
  const { length } = disk.readWhole(file)
  for (let i = 0; i < 50; i++) await refuse(`made-up-${i}`)
  expect(disk.readWhole(file)).toHaveLength(length)
  expect(await found(ledger, { table: 'receiver', values: ['made-up-7'] })).toHaveLength(1)
  await ledger.close()
})

test('one issuer cannot make up more principals than its share, and what is under way ends', async () => {
  const bounds = { ...limits, subjectsMax: 32, subjectsPerIssuerMax: 3 }
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  let ledger = await openLossyLedger(disk, keys, { limits: bounds })
  const asks = (caller: string, kind: 'intent' | 'refusal' = 'intent') => {
    const facts = { ...askedOf('planner', 'weather'), caller, code: 'NOT_PERMITTED' }
    return ledger.append({ kind, exchange: newExchange(), at: Date.now(), facts })
  }
  await call(ledger, 'planner', 'weather')
  const userOf = (n: number) => `https://issuer.example#user/${n}`
  for (let n = 0; n < 3; n++) await asks(userOf(n))
  for (let start = 0; start < 2; start++) {
    await expect(asks(userOf(9))).rejects.toThrow('over ledger.subjectsPerIssuer, 3')
    await expect(asks(userOf(9), 'refusal')).rejects.toThrow(LedgerBusy)
    await asks(userOf(1))
    await asks('https://other.example#user/1')
    await ledger.close()
    ledger = await openLossyLedger(disk, keys, { limits: bounds })
  }
  // Events of the fabric's own are recorded in any case.
  const enrolled = { event: 'enrolled', agent: idOf('newcomer') }
  await ledger.append({
    ...{ kind: 'lifecycle', exchange: newExchange(), at: Date.now(), facts: enrolled },
    purpose: 'lifecycle',
  })
  expect(await erase(ledger, userOf(0))).toMatchObject({ underWay: 0 })
  await asks(userOf(9))
  await ledger.close()
})

/** A closed log with an erased subject, and the file of its subjects before that. */
async function erasedLog() {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const ledger = await openLossyLedger(disk, keys, { limits })
  const exchange = await call(ledger, 'mallory', 'weather')
  await call(ledger, 'planner', 'weather')
  const before = disk.readWhole(file)
  await erase(ledger, 'mallory')
  await ledger.close()
  return { disk, keys, exchange, before }
}

async function opening({ disk, keys }: { disk: LossyDisk; keys: LedgerKeys }): Promise<unknown> {
  disk.restart()
  return openLossyLedger(disk, keys, { limits }).then(
    () => null,
    (cause: unknown) => cause,
  )
}

test('an old copy of the file opens nothing, and the start names what to do', async () => {
  const log = await erasedLog()
  log.disk.overwrite(file, log.before)
  const refused = await opening(log)
  expect(refused).toBeInstanceOf(LedgerDamage)
  expect(String(refused)).toContain('put back the newest of both')
})

test('a file that is damaged, cut off, of another slot or missing is refused', async () => {
  const base = await erasedLog()
  const whole = base.disk.readWhole(file)
  for (let at = 0; at < whole.length; at++) {
    // Of two marks, one is sufficient.
    if (at >= 16 && at < 48) continue
    const disk = base.disk.copy()
    const changed = Buffer.from(whole)
    changed[at] = (changed[at] ?? 0) ^ 1
    disk.overwrite(file, changed)
    const isCovered = at < 12 || at >= 48
    if (isCovered)
      expect(await opening({ ...base, disk }), `byte ${at}`).toBeInstanceOf(LedgerDamage)
  }
  for (const length of [0, 15, 47, 48, 60, whole.length - 1]) {
    const disk = base.disk.copy()
    disk.overwrite(file, whole.subarray(0, length))
    expect(await opening({ ...base, disk }), `cut at ${length}`).toBeInstanceOf(LedgerDamage)
  }
  const other = await erasedLog()
  const disk = base.disk.copy()
  disk.overwrite(file, other.disk.readWhole(file))
  expect(await opening({ ...base, disk })).toBeInstanceOf(LedgerDamage)
  const lacking = base.disk.copy()
  await lacking.remove(file)
  expect(String(await opening({ ...base, disk: lacking }))).toContain('it is missing')
})

test('a copy of the file that lacks the subject of an entry is damage, not an erasure', async () => {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const ledger = await openLossyLedger(disk, keys, { limits })
  await call(ledger, 'planner', 'weather')
  const before = disk.readWhole(file)
  await call(ledger, 'late', 'weather')
  await ledger.close()
  disk.overwrite(file, before)
  expect(String(await opening({ disk, keys }))).toContain('lacks a subject that an entry names')
})

test('an entry that is made to name an erased subject is found', async () => {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  let ledger = await openLossyLedger(disk, keys, { limits })
  await call(ledger, 'mallory', 'weather')
  await call(ledger, 'planner', 'weather')
  await erase(ledger, 'mallory')
  for (let i = 0; i < 140; i++) await call(ledger, 'planner', 'weather')
  await ledger.check()
  await ledger.close()
  const path = '/ledger/log/detail/000'
  const bytes = disk.readWhole(path)
  const startOf = (index: number) => (index === 0 ? 1024 : bytes.readUInt32BE((index - 1) * 4))
  const reference = bytes.subarray(startOf(1) + 18, startOf(1) + 34)
  // Of the exchange of others before the erasure, and of one behind it.
  for (const index of [3, 20]) {
    const changed = Buffer.from(bytes)
    reference.copy(changed, startOf(index) + 18)
    disk.overwrite(path, changed)
    ledger = await openLossyLedger(disk, keys, { limits })
    await expect(ledger.check()).rejects.toThrow(LedgerDamage)
    await ledger.close()
  }
})

/** The secret store dies with the disk: a fault is counted over the operations of both. */
function crashing(keys: LedgerKeys, disk: LossyDisk): LedgerKeys {
  const { subjectKeys } = keys
  return {
    ...keys,
    subjectKeys: {
      load: () => subjectKeys.load(),
      async store(value) {
        await disk.mount().makeDirectory('/secret')
        await subjectKeys.store(value)
        await disk.mount().makeDirectory('/secret')
      },
    },
  }
}

test('a crash at each step of an erasure leaves a log that opens, and that it can be finished in', async () => {
  const base = new LossyDisk()
  const kept = createLedgerKeys()
  const first = await openLossyLedger(base, kept, { limits })
  const gone = await call(first, 'mallory', 'weather')
  const other = await call(first, 'planner', 'weather')
  await first.close()
  const subjectKey = (await kept.subjectKeys.load()) ?? new Uint8Array()
  const operation = newExchange()
  let isDone = false
  let steps = 0
  for (let at = 1; !isDone; at++) {
    for (const when of ['before', 'after'] as const) {
      for (const loss of ['process only', 'synced', 'everything'] as const) {
        const disk = base.copy()
        await kept.subjectKeys.store(subjectKey)
        const ledger = await openLossyLedger(disk, crashing(kept, disk), { limits })
        const fault: Fault = { at: disk.log.length + at, when, process: 'dies' }
        disk.setFault(fault)
        const result = await erase(ledger, 'mallory', operation).catch(() => null)
        isDone = result !== null && disk.log.length < fault.at
        steps += 1
        if (loss === 'process only') disk.restart()
        else disk.powerLoss(loss)
        const reopened = await openLossyLedger(disk, crashing(kept, disk), { limits })
        expect(await isErased(reopened, other)).toEqual([false, false])
        const again = await erase(reopened, 'mallory', operation)
        expect(again.underWay).toBe(0)
        expect(await isErased(reopened, gone)).toEqual([true, true])
        expect(await isErased(reopened, other)).toEqual([false, false])
        await reopened.check()
        // No key of an earlier generation is left.
        expect((await kept.subjectKeys.load())?.[0]).toBe(1)
        await reopened.close()
      }
    }
  }
  expect(steps).toBeGreaterThan(60)
})

test('an erasure among many subjects leaves turns of the event loop to all else', async () => {
  let bytes: Uint8Array | null = null
  const nothing = async () => undefined
  const subjects = await Subjects.open(
    {
      store: {
        read: async () => bytes,
        replace: async (whole) => {
          bytes = whole
        },
        ...{ write: nothing, sync: nothing, close: nothing },
      },
      keys: memoryKeys(),
      ...{ origin: 'ledger.test/ledger/a', random: systemRandom, isPrincipal: () => true },
      limits: { subjectsMax: 9_999, subjectsPerIssuerMax: 9_999, erasedSubjectsMax: 9_999 },
    },
    true,
  )
  const names = Array.from({ length: 2_560 }, (_, at) => ({ caller: idOf(`agent-${at}`) }))
  await Promise.all(names.map((facts) => subjects.ensure({ kind: 'intent', facts }, true)))
  const turnsOf = async (work: () => Promise<unknown>): Promise<number> => {
    let turns = 0
    let goesOn = true
    const count = () => {
      turns += 1
      if (goesOn) setImmediate(count)
    }
    setImmediate(count)
    await work()
    goesOn = false
    return turns
  }
  const isSubject = (name: string) => name === 'agent-7'
  expect(await turnsOf(() => subjects.retire('one', isSubject))).toBeGreaterThanOrEqual(10)
  expect(await turnsOf(() => subjects.erase('one'))).toBeGreaterThanOrEqual(10)
  expect(subjects.find(idOf('agent-7'))).toBeNull()
})
