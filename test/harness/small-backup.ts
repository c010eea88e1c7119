import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { formatTrust } from '@countersign/protocol'
import { inject } from 'vitest'
import { openFileLedgerStore } from '../../packages/fabric/src/adapters/file/ledger-store.ts'
import { type BackupReport, makeBackup } from '../../packages/fabric/src/compose/backup.ts'
import { type RestoreReport, restoreBackup } from '../../packages/fabric/src/compose/restore.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import type { Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import { openLedger } from '../../packages/fabric/src/ledger/open-ledger.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemFiles } from '../../packages/fabric/src/lib/durable-file.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { heldLease } from '../../tools/crash/held-lease.ts'
import { createLedgerKeys, testOrigin, trustOf } from '../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../tools/crash/lossy-matrix.ts'

/** A data folder with a log, without a fabric: what a backup reads of one that is stopped. */
export interface SmallFolder {
  /** Has `data`, and everything that a test makes next to it. */
  readonly home: string
  readonly data: string
  /** The folder of the log slot. */
  readonly slot: string
  /** Opens the log, records `count` refusals, and closes it. */
  record(count: number): Promise<void>
  backUp(folder: string): Promise<BackupReport>
  remove(): void
}

export async function openSmallFolder(): Promise<SmallFolder> {
  const home = mkdtempSync(join(inject('worldsDir'), 'small-'))
  const data = join(home, 'data')
  const slot = join(data, 'ledger', 'a')
  const keys = createLedgerKeys()
  const withLedger = async (work: (ledger: Ledger) => Promise<void>): Promise<void> => {
    const store = await openFileLedgerStore({ directory: slot, files: systemFiles })
    const parts = { ...keys, lease: heldLease, clock: systemClock, random: systemRandom }
    try {
      const ledger = await openLedger({ ...parts, store, origin: testOrigin })
      try {
        await work(ledger)
      } finally {
        await ledger.close()
      }
    } catch (error) {
      await store.close()
      throw error
    }
  }
  const record = (count: number) =>
    withLedger(async (ledger) => {
      for (let i = 0; i < count; i++) {
        const facts = { code: 'NOT_PERMITTED', receiver: 'nobody', caller: '' }
        await ledger.append({ kind: 'refusal', exchange: newExchange(), at: Date.now(), facts })
      }
    })
  mkdirSync(join(data, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(data, 'secrets', 'one'), 'sealed')
  new DatabaseSync(join(data, 'state.db')).close()
  await withLedger(async (ledger) => {
    writeFileSync(join(data, 'trust.json'), formatTrust(trustOf(ledger)))
  })
  await record(3)
  return {
    ...{ home, data, slot, record },
    backUp: (folder) =>
      makeBackup({
        ...{ config: configOf(data), folder, checkAll: false, running: [] },
        ...{ clock: systemClock, random: systemRandom, onStep: () => undefined },
        ask: () => Promise.reject(new Error('no process has the slot')),
      }),
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}

export interface SmallRestore {
  readonly newest?: Uint8Array
  readonly onStep?: (step: string) => void
}

/** Without `newest`, the loss of entries is accepted. */
export function restoreInto(
  data: string,
  folder: string,
  { newest, onStep = () => undefined }: SmallRestore = {},
): Promise<RestoreReport> {
  return restoreBackup({
    ...{ config: configOf(data), folder, clock: systemClock, onStep },
    entriesLost: newest === undefined,
    newest: newest === undefined ? [] : [{ name: 'shown', bytes: newest }],
  })
}

function configOf(dataDir: string) {
  const text = JSON.stringify({ masterKey: { from: 'key-file', path: '/none' } })
  return parseConfig({ path: 'countersign.yaml', text }, readEnvironment(), { dataDir, port: 0 })
}
