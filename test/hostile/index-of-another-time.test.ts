import { beforeAll, describe, expect, test } from 'vitest'
import type { Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import { termPath } from '../../packages/fabric/src/ledger/term-index.ts'
import { crc32c } from '../../packages/fabric/src/lib/crc32c.ts'
import { LossyDisk } from '../../tools/crash/lossy-files.ts'
import {
  createLedgerKeys,
  type LedgerKeys,
  openLossyLedger,
} from '../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../tools/crash/lossy-matrix.ts'
import { verifies } from '../requirements.ts'

const limits = { termSegmentEntries: 256, windowBytesMax: 1, publishEntries: 1 }
const keys = createLedgerKeys()
const pageBytes = 4_096

const fileOf = (segment: number) => `/ledger/log/${termPath(segment)}`

/**
 * Calls of two callers, spread otherwise at another time, in two files of the index and a part of a
 * third.
 */
async function record(ledger: Ledger, shift: number): Promise<readonly string[]> {
  const hidden: string[] = []
  for (let n = 0; n < 300; n++) {
    const caller = (n + shift) % 7 < 3 ? 'watched' : 'other'
    const exchange = newExchange()
    const at = 1_700_000_000_000
    const facts = { caller, receiver: `r${n % 60}`, tool: `t${n}` }
    await ledger.append({ kind: 'intent', exchange, at, facts })
    await ledger.append({ kind: 'outcome', exchange, at, facts: { result: 'delivered' } })
    if (caller === 'watched') hidden.push(exchange)
  }
  return hidden.toReversed()
}

async function findAll(ledger: Ledger): Promise<readonly string[]> {
  const terms = [{ table: 'caller' as const, values: ['watched'] }]
  const found: string[] = []
  for (let before: number | null = ledger.size; before !== null; ) {
    const page = await ledger.list({ countMax: 1_000, terms, before })
    found.push(...page.lines.map(({ exchange }) => exchange))
    before = page.older
  }
  return found
}

async function recorded(own: LedgerKeys, shift = 0) {
  const disk = new LossyDisk()
  const ledger = await openLossyLedger(disk, own, { limits })
  const hidden = await record(ledger, shift)
  // The files are there once every search has been answered by them.
  expect(await findAll(ledger)).toEqual(hidden)
  await ledger.close()
  const again = await openLossyLedger(disk, own, { limits })
  expect(await findAll(again)).toEqual(hidden)
  await again.close()
  return { disk, hidden, files: [0, 1].map((segment) => disk.readWhole(fileOf(segment))) }
}

type Files = readonly Buffer[]
type Recorded = Awaited<ReturnType<typeof recorded>>

/** With the checksum that a page or the directory had before its sums were keyed. */
function summed(bytes: Buffer, start: number, end: number): void {
  bytes.writeUInt32BE(crc32c(bytes.subarray(start, end - 4)), end - 4)
}

/** A copy with the last page emptied of its rows. */
function emptied(file: Buffer): Buffer {
  const bytes = Buffer.from(file)
  const start = bytes.length - pageBytes
  bytes.fill(0, start, start + pageBytes)
  summed(bytes, start, bytes.length)
  return bytes
}

const forgeries: Readonly<
  Record<string, (own: Files, others: { readonly log: Files; readonly time: Files }) => Files>
> = {
  "files of each other's segment": ([first, second]) => [second, first] as Files,
  'files of the log of another slot': (_, { log }) => log,
  'files of an earlier time, of the same key': (_, { time }) => time,
  'files whose rows were taken out, with new checksums': (own) => own.map(emptied),
  'files that end early': (own) => own.map((file) => file.subarray(0, file.length - pageBytes)),
  'files that are empty': (own) => own.map(() => Buffer.alloc(0)),
}

describe('the index of the ledger on the disk', () => {
  // Each attempt writes its forgery over what the one before left, which has all entries.
  let own: Recorded
  let others: { readonly log: Files; readonly time: Files }
  beforeAll(async () => {
    own = await recorded(keys)
    others = {
      log: (await recorded(createLedgerKeys())).files,
      time: (await recorded(keys, 3)).files,
    }
  })

  test.each(Object.entries(forgeries))(
    verifies(['record:findable'], 'hides no exchange by %s'),
    async (_, forge) => {
      const forged = forge(own.files, others)
      const put = () => {
        for (const [segment, bytes] of forged.entries()) {
          own.disk.overwrite(fileOf(segment), bytes)
        }
      }
      put()
      const ledger = await openLossyLedger(own.disk, keys, { limits })
      try {
        expect(await findAll(ledger)).toEqual(own.hidden)
        // While the process runs, which has read the directories.
        put()
        expect(await findAll(ledger)).toEqual(own.hidden)
      } finally {
        await ledger.close()
      }
    },
  )
})
