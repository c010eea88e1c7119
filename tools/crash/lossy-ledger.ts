import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { openFileLedgerStore } from '../../packages/fabric/src/adapters/file/ledger-store.ts'
import { rawPublicKey } from '../../packages/fabric/src/ledger/checkpoint.ts'
import type { Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import { type LedgerOptions, openLedger } from '../../packages/fabric/src/ledger/open-ledger.ts'
import type { ReplacedKeyStore } from '../../packages/fabric/src/ledger/replaced-keys.ts'
import type { HeadStore } from '../../packages/fabric/src/ledger/store.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import {
  formatTrust,
  parseTrust,
  slotCertificate,
  type Trust,
} from '../../packages/protocol/src/index.ts'
import { heldLease } from './held-lease.ts'
import type { LossyDisk } from './lossy-files.ts'
import { memoryKeys } from './memory-keys.ts'

/** The keys that one ledger keeps over all its restarts. */
export interface LedgerKeys {
  readonly logKey: KeyObject
  readonly detailKey: Uint8Array
  readonly subjectKeys: ReplacedKeyStore
}

export const testOrigin = 'ledger.test/ledger/a'

export function createLedgerKeys(): LedgerKeys {
  const logKey = generateKeyPairSync('ed25519').privateKey
  return { logKey, detailKey: systemRandom(32), subjectKeys: memoryKeys() }
}

/** Returns the trust that an auditor of such a ledger pins. */
export function trustOf(ledger: Ledger): Trust {
  const fabricKey = rawPublicKey(generateKeyPairSync('ed25519').publicKey)
  const certifier = generateKeyPairSync('ed25519')
  const slot = { slot: ledger.slot, origin: testOrigin, vkey: ledger.vkey }
  const certificate = slotCertificate('ledger.test', slot)
  return parseTrust(
    formatTrust({
      ...{ trustDomain: 'ledger.test', fabricKey, slotKey: rawPublicKey(certifier.publicKey) },
      slots: [{ ...slot, signature: sign(null, certificate, certifier.privateKey) }],
    }),
  )
}

export async function openLossyLedger(
  disk: LossyDisk,
  keys: LedgerKeys,
  options: Partial<LedgerOptions> & {
    readonly headDirectory?: string
    /** Puts another store in front of that of the heads. */
    readonly heads?: (heads: HeadStore) => HeadStore
  } = {},
): Promise<Ledger> {
  const { headDirectory, heads = (store) => store, ...rest } = options
  const directory = '/ledger'
  const store = await openFileLedgerStore({
    directory,
    files: disk.mount(),
    lock: disk.lock,
    ...(headDirectory === undefined ? {} : { headDirectory }),
  })
  return openLedger({
    store: { ...store, heads: heads(store.heads) },
    lease: heldLease,
    origin: testOrigin,
    clock: systemClock,
    random: systemRandom,
    ...keys,
    ...rest,
  })
}

/** The offsets between the records of a segment of the write-ahead log, both ends included. */
export function recordBounds(segment: Buffer): readonly number[] {
  const bounds = [0]
  let end = 0
  while (segment.toString('latin1', end, end + 4) === 'CSWR') {
    end += 16 + segment.readUInt32BE(end + 4) + 4
    bounds.push(end)
  }
  return bounds
}

/** The records of such a segment, without the zeros that it grew by. */
export function recordsOf(segment: Buffer): Buffer {
  return segment.subarray(0, recordBounds(segment).at(-1))
}
