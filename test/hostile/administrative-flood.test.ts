import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import {
  memoryStateStore,
  StateMemory,
} from '../../packages/fabric/src/adapters/memory/state-store.ts'
import { createSnapshots } from '../../packages/fabric/src/compose/backup-snapshots.ts'
import { Erasures } from '../../packages/fabric/src/ledger/erasures.ts'
import type { Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import { LedgerBusy } from '../../packages/fabric/src/ledger/unavailable.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { StateStream } from '../../packages/fabric/src/state/state-stream.ts'
import { LossyDisk } from '../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../tools/crash/lossy-matrix.ts'
import { ShiftedClock } from '../harness/clock.ts'
import { verifies } from '../requirements.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'countersign-flood-'))
afterAll(() => rmSync(dataDir, { recursive: true }))

test(
  verifies(['record:bounded-operators'], 'repeated snapshots leave the channels most of the time'),
  async () => {
    let now = 0
    const slept: number[] = []
    let wake: () => void = () => undefined
    let made = 0
    const makeBackup = createSnapshots({
      ...{ dataDir, random: systemRandom, clock: { monotonic: () => now } },
      snapshot: async (folder) => {
        made += 1
        writeFileSync(join(folder, 'messages.db'), `copy ${made}`)
        now += 2_000
        return true
      },
      ledger: { slot: 'a', flush: async () => ({ size: 1, headAt: 0 }) },
      sleep: (ms) => {
        slept.push(ms)
        return new Promise((resolve) => {
          wake = resolve
        })
      },
    })
    const first = (await makeBackup('a')) as { readonly folder: string }
    const copy = join(dataDir, 'backup', 'a', first.folder)
    const flood = Array.from({ length: 500 }, () => makeBackup('a'))
    await new Promise((resolve) => setTimeout(resolve))
    // The command that asked first still finds its copy, whole.
    expect([made, slept, readdirSync(copy)]).toEqual([1, [18_000], ['messages.db']])
    now += 18_000
    wake()
    expect(await flood[0]).toMatchObject({ slot: 'a', size: 1, channels: true })
    expect([made, existsSync(copy)]).toEqual([2, false])
    // A command removes what it has copied, and the next one does not wait.
    rmSync(join(dataDir, 'backup'), { recursive: true })
    wake()
    await Promise.all(flood)
    expect(made).toBe(3)
    expect(slept).toHaveLength(2)
  },
)

const keys = createLedgerKeys()
const limits = { readsMax: 3, readsPerOwnerMax: 2, erasedSubjectsMax: 1 }

type Erasing = Pick<Ledger, 'erase' | 'assertErasable' | 'slot'>

async function openErasures(memory: StateMemory, ledger: Erasing) {
  const clock = new ShiftedClock()
  const store = memoryStateStore(memory)
  const state = await StateStream.open({ store, clock, onFatal: () => undefined })
  const erasures = await Erasures.open({
    ...{ state, ledger, key: new Uint8Array(32), log: () => undefined },
  })
  await erasures.cover([])
  return {
    begin: (name: string, owner: string, slots: readonly string[]) =>
      erasures.begin({ name, owner, exchange: newExchange(), slots }),
    close: async () => {
      await erasures.close()
      await state.close()
    },
  }
}

test(
  verifies(['record:bounded-operators'], 'no administrator uses up what others need'),
  async () => {
    const disk = new LossyDisk()
    let ledger = await openLossyLedger(disk, keys, { limits })
    for (const caller of ['one', 'two']) {
      const facts = { code: 'NOT_PERMITTED', 'caller.method': 'certificate' }
      await ledger.append({
        ...{ kind: 'refusal', exchange: newExchange(), at: Date.now() },
        facts: { ...facts, caller: `spiffe://ledger.test/agent/${caller}` },
      })
    }
    // Each count reads the whole log.
    const counts = ['a', 'a', 'a', 'b'].map((owner) => ledger.countEntries(() => true, owner))
    const counted = await Promise.allSettled(counts)
    expect(counted.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
    ])
    const memory = new StateMemory()
    let erasures = await openErasures(memory, ledger)
    for (let asked = 0; asked < 256; asked++) await erasures.begin(`junk-${asked}`, 'flood', ['b'])
    await expect(erasures.begin('junk', 'flood', ['b'])).rejects.toThrow(LedgerBusy)
    expect(await erasures.begin('one', 'other', ['a'])).toMatchObject({ entries: 1, pending: [] })
    // As many subjects as may be are erased: a request that could not be carried out is not made.
    await expect(erasures.begin('two', 'other', ['a', 'b'])).rejects.toThrow('too many principals')
    await erasures.close()
    await ledger.close()
    // One that another slot has put on record is carried out, or this one would never start.
    const none = {
      erase: async () => ({ entries: 0, underWay: 0 }),
      assertErasable: () => undefined,
    }
    const other = await openErasures(memory, { ...none, slot: 'b' })
    expect(await other.begin('two', 'third', ['a'])).toMatchObject({ pending: ['a'] })
    await other.close()
    ledger = await openLossyLedger(disk, keys, { limits })
    erasures = await openErasures(memory, ledger)
    expect(await ledger.countEntries((name) => name === 'two')).toBe(0)
    await erasures.close()
    await ledger.close()
  },
)
