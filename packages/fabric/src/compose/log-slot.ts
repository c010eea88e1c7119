import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { toHex } from '@countersign/protocol'
import { LockHeld } from '../adapters/file/file-lock.ts'
import { openFileLedgerStore } from '../adapters/file/ledger-store.ts'
import { readPrivateFile, writePrivateFile } from '../adapters/file/secret-private-file.ts'
import type { PostgresDatabase } from '../adapters/postgresql/database.ts'
import {
  isLeaseOfOther,
  type LeasePlace,
  openPostgresLeaseStore,
} from '../adapters/postgresql/lease-store.ts'
import { openSqliteLeaseStore } from '../adapters/sqlite/lease-store.ts'
import { watchStorage } from '../adapters/sqlite/storage-fault.ts'
import { sharedRead } from '../concurrency/shared-read.ts'
import type { Config } from '../config/config.ts'
import type { LedgerStore } from '../ledger/store.ts'
import { readBootId } from '../lib/boot-id.ts'
import { makeFolder } from '../lib/named-path.ts'
import type { Random } from '../lib/random.ts'
import { type HeldLease, takeLease } from '../state/lease.ts'
import type { LeaseRow, LeaseStore } from '../state/lease-store.ts'
import type { Environment } from './stores.ts'

/** The slot of a fabric that is one process. */
export const FIRST_SLOT = 'a'

/** Between two attempts to take a lease that has to end first. */
const takePauseMs = 500

/** The slots that replicas take by themselves, in this order. */
const automaticSlots: readonly string[] = 'abcdefghijklmnopqrstuvwxyz'.split('')

/** The folders of a slot's log and of its stored head. */
export function slotFolders({ dataDir, ledger }: Pick<Config, 'dataDir' | 'ledger'>, slot: string) {
  const { headDir } = ledger
  return {
    directory: join(dataDir, 'ledger', slot),
    ...(headDir === undefined ? {} : { headDirectory: join(headDir, slot) }),
  }
}

/** The log slot of this process: its lease and the store of its log. */
export interface LogSlot {
  readonly name: string
  readonly lease: HeldLease
  /** Returns the store of the log, once; the caller closes it. */
  takeStore(): LedgerStore
  /**
   * All slots that were ever taken, and what their holders publish. Requests without a credential
   * lead here: one read at a time serves all of them.
   */
  slots(): Promise<readonly LeaseRow[]>
  /** Closes the store unless it was taken, then gives the lease back. */
  close(): Promise<void>
}

/**
 * Takes the configured slot, or the first one for a fabric that is one process, or the first free
 * one for a replica. Rejects when another process holds it.
 *
 * First the lock of the slot's folder, which the operating system drops with its holder, then the
 * lease. The lock proves that the former holder on this host has ended, so that a start after a
 * crash does not wait.
 */
export async function openLogSlot(
  environment: Environment,
  database: PostgresDatabase | null,
): Promise<LogSlot> {
  const { config } = environment
  const place = database === null ? null : await findPlace(config.dataDir, environment.random)
  const leases = await openLeases(environment, database, place)
  try {
    for (const name of slotsOf(config)) {
      if (place !== null && database !== null && (await isLeaseOfOther(database, name, place))) {
        if (slotsOf(config).length > 1) continue
        throw new LockHeld(`another data folder has the log of slot ${name}: set \`replica: true\``)
      }
      const slot = await openSlot(environment, leases, name)
      if (slot !== null) return slot
    }
    throw new LockHeld('another process holds each of the log slots that this one may take')
  } catch (cause) {
    await leases.close()
    throw cause
  }
}

async function openLeases(
  { config, onFatal }: Environment,
  database: PostgresDatabase | null,
  place: LeasePlace | null,
): Promise<LeaseStore> {
  if (database !== null && place !== null) return openPostgresLeaseStore(database, place)
  return watchStorage(await openSqliteLeaseStore(join(config.dataDir, 'leases.db')), (cause) =>
    onFatal('the leases of log slots cannot be kept', cause),
  )
}

/** A copy has another inode, and another host or a later boot another boot. */
async function findPlace(dataDir: string, random: Random): Promise<LeasePlace> {
  const folder = await openFolderId(dataDir, random)
  const boot = readBootId()
  // Without a boot id, nothing is known of a holder before.
  if (boot === null) return { folder, place: toHex(random(16)) }
  const { dev, ino } = await stat(join(dataDir, folderFile))
  return { folder, place: `${boot}:${dev}:${ino}` }
}

const folderFile = 'folder'

/** Identifies a data folder, from its first start on, to those that share its state. */
async function openFolderId(dataDir: string, random: Random): Promise<string> {
  const path = join(dataDir, folderFile)
  const stored = await readPrivateFile(path)
  if (stored !== null) return Buffer.from(stored).toString('latin1')
  const id = toHex(random(16))
  try {
    await writePrivateFile(path, Buffer.from(id))
    return id
  } catch (cause) {
    // Another process of this folder made it meanwhile.
    const made = await readPrivateFile(path)
    if (made === null) throw cause
    return Buffer.from(made).toString('latin1')
  }
}

function slotsOf({ ledger, replica }: Config): readonly string[] {
  if (ledger.slot !== undefined) return [ledger.slot]
  return replica ? automaticSlots : [FIRST_SLOT]
}

/** Null while another process holds it and others may be taken. */
async function openSlot(
  environment: Environment,
  leases: LeaseStore,
  name: string,
): Promise<LogSlot | null> {
  const { config, clock } = environment
  const store = await openStore(environment, name).catch((cause: unknown) => {
    if (cause instanceof LockHeld && slotsOf(config).length > 1) return null
    throw cause
  })
  if (store === null) return null
  try {
    // The log that the former holder certified stays listed until this one has done so.
    const former = (await leases.list()).find((each) => each.name === name)
    const { leaseMs } = config.ledger
    const request = { store: leases, name, clock, note: former?.note ?? '', leaseMs }
    const take = () => takeLease({ ...request, isFormerEnded: true })
    // The lock is ours, so that the holder is at another place: of an earlier boot, or a copy.
    const giveUpAt = clock.monotonic() + leaseMs + takePauseMs
    let lease = await take()
    while (lease === null && clock.monotonic() < giveUpAt) {
      await sleep(takePauseMs)
      lease = await take()
    }
    if (lease === null) {
      const where = 'where a copy of this data folder is: use one of them'
      throw new LockHeld(`another process holds the log slot ${name}, ${where}`)
    }
    lease.start()
    return logSlot(lease, store, leases)
  } catch (cause) {
    await store.close()
    throw cause
  }
}

function openStore({ config, onFatal }: Environment, slot: string): Promise<LedgerStore> {
  const { headDir } = config.ledger
  // Refuses a file by its name. The store makes an absent folder, durably.
  if (headDir !== undefined && existsSync(headDir)) makeFolder(headDir)
  return openFileLedgerStore({
    ...slotFolders(config, slot),
    onFail: (cause) => onFatal('the ledger cannot record', cause),
  })
}

function logSlot(lease: HeldLease, store: LedgerStore, leases: LeaseStore): LogSlot {
  let isTaken = false
  return {
    name: lease.name,
    lease,
    takeStore() {
      if (isTaken) throw new Error('the store of the log slot was taken')
      isTaken = true
      return store
    },
    slots: sharedRead(() => leases.list()),
    async close() {
      try {
        if (!isTaken) await store.close()
        await lease.release()
      } finally {
        await leases.close()
      }
    },
  }
}
