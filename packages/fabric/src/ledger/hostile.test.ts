import { createReceipt, parseReceipt, ReceiptError, verifyReceipt } from '@countersign/protocol'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { otherFabric } from '../../../../test/harness/trusts.ts'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import {
  createLedgerKeys,
  openLossyLedger,
  recordsOf,
  trustOf,
} from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import type { Ledger } from './ledger.ts'
import { encodeBundle, encodeDetails, parseBundle, parseDetails } from './tiles.ts'

const keys = createLedgerKeys()
const limits = { publishEntries: 1, segmentEntries: 16 }
const headDirectory = '/heads'

/** A closed ledger with full tiles, partial ones, details and an index. */
let base: LossyDisk
let exchanges: readonly string[]

/** The facts that a refusal has to state for a receipt. */
const refused = {
  ...{ code: 'NOT_PERMITTED', transport: 'gateway', protocol: 'http', operation: 'GET' },
  ...{ receiver: 'b', n: 1 },
}

async function fill(ledger: Ledger, count: number): Promise<readonly string[]> {
  const written = Array.from({ length: count }, newExchange)
  for (const exchange of written) {
    await ledger.append({ kind: 'refusal', exchange, at: Date.now(), facts: refused })
  }
  return written
}

beforeAll(async () => {
  base = new LossyDisk()
  const ledger = await openLossyLedger(base, keys, {
    limits: { segmentEntries: 16 },
    headDirectory,
  })
  await Promise.all(Array.from({ length: 25 }, () => fill(ledger, 10)))
  await ledger.close()
  base.restart()
  const again = await openLossyLedger(base, keys, { limits, headDirectory })
  exchanges = await fill(again, 12)
  await again.close()
})

/** Opens a copy that `attack` has changed, and checks it. Rejects when it is found out. */
async function openAttacked(attack: (disk: LossyDisk) => void): Promise<void> {
  const disk = base.copy()
  attack(disk)
  const ledger = await openLossyLedger(disk, keys, { limits, headDirectory })
  try {
    await ledger.check()
  } finally {
    await ledger.close()
  }
}

function edit(disk: LossyDisk, path: string, change: (bytes: Buffer) => Uint8Array): void {
  disk.overwrite(path, change(disk.readWhole(path)))
}

const entries = '/ledger/log/tile/entries/000'
const details = '/ledger/log/detail/000'
const tile = '/ledger/log/tile/0/000'

function editBundle(change: (list: Uint8Array[]) => Uint8Array[]) {
  return (disk: LossyDisk) =>
    edit(disk, entries, (bytes) => encodeBundle(change([...parseBundle(bytes, 256)])))
}

const noBytes = new Uint8Array(0)
const swapped = (list: Uint8Array[]) => {
  const [a = noBytes, b = noBytes, c = noBytes, ...rest] = list
  return [a, c, b, ...rest]
}

describe('attacks of an operator with the files, but not the keys', () => {
  const attacks: readonly (readonly [string, (disk: LossyDisk) => void])[] = [
    [
      'an entry is replaced by another genuine one',
      editBundle(([a = noBytes, , ...rest]) => [a, a, ...rest]),
    ],
    ['two entries change places', editBundle(swapped)],
    ['an entry is deleted', editBundle((list) => list.slice(0, -1))],
    ['an entry is inserted', editBundle((list) => [...list, list[0] ?? noBytes])],
    ['an empty entry is appended', editBundle((list) => [...list, noBytes])],
    [
      'bytes are appended to a full bundle',
      (disk) => edit(disk, entries, (bytes) => Buffer.concat([bytes, Buffer.from([1])])),
    ],
    ['a tile is cut', (disk) => edit(disk, tile, (bytes) => bytes.subarray(0, -32))],
    [
      'a tile is lengthened',
      (disk) => edit(disk, tile, (bytes) => Buffer.concat([bytes, bytes.subarray(0, 32)])),
    ],
    [
      'hashes change places',
      (disk) =>
        edit(disk, tile, (bytes) =>
          Buffer.concat([bytes.subarray(32, 64), bytes.subarray(0, 32), bytes.subarray(64)]),
        ),
    ],
    [
      'the details of two entries change places',
      (disk) =>
        edit(disk, details, (bytes) => encodeDetails(swapped([...parseDetails(bytes, 256)]))),
    ],
    ['the checkpoint is emptied', (disk) => disk.overwrite('/ledger/log/checkpoint', noBytes)],
    ['the stored head is emptied', (disk) => disk.overwrite('/heads/head', noBytes)],
  ]
  for (const [name, attack] of attacks) {
    test(`${name}, and it is found out`, async () => {
      await expect(openAttacked(attack)).rejects.toThrow()
    })
  }

  test('nothing is found where nothing was changed', async () => {
    await expect(openAttacked(() => undefined)).resolves.toBeUndefined()
  })

  test('the whole ledger is put back to an older genuine state, and the stored head refuses it', async () => {
    const disk = base.copy()
    const newer = await openLossyLedger(disk, keys, { limits, headDirectory })
    await fill(newer, 3)
    await newer.close()
    const rolledBack = base.copy()
    rolledBack.overwrite('/heads/head', disk.readWhole('/heads/head'))
    await expect(openLossyLedger(rolledBack, keys, { limits, headDirectory })).rejects.toThrow(
      'ahead of the storage',
    )
  })

  test('the stored head is put back to an older genuine state, and the storage refuses it', async () => {
    const disk = base.copy()
    const newer = await openLossyLedger(disk, keys, { limits, headDirectory })
    await fill(newer, 3)
    await newer.close()
    disk.overwrite('/heads/head', base.readWhole('/heads/head'))
    await expect(openLossyLedger(disk, keys, { limits, headDirectory })).rejects.toThrow(
      'ahead of the stored head',
    )
  })

  test('a fork of the same size by the same keys does not fit the stored head', async () => {
    const [left, right] = [base.copy(), base.copy()]
    for (const disk of [left, right]) {
      const ledger = await openLossyLedger(disk, keys, { limits, headDirectory })
      await fill(ledger, 3)
      await ledger.close()
    }
    left.overwrite('/heads/head', right.readWhole('/heads/head'))
    await expect(openLossyLedger(left, keys, { limits, headDirectory })).rejects.toThrow(
      'another root was promised',
    )
  })

  test('the ledger is opened with another log key, and is not recognised', async () => {
    const { logKey } = createLedgerKeys()
    await expect(
      openLossyLedger(base.copy(), { ...keys, logKey }, { headDirectory }),
    ).rejects.toThrow()
  })
})

describe('bits', () => {
  /**
   * The exchange index may also heal: it is rebuilt from the entries where it is seen to be
   * damaged.
   */
  async function isFoundOut(path: string, bit: number): Promise<boolean> {
    let attacked = base
    const flipping = openAttacked((disk) => {
      attacked = disk
      flip(disk, path, bit)
    })
    return flipping.then(
      () => path.includes('/index/') && attacked.readWhole(path).equals(base.readWhole(path)),
      () => true,
    )
  }

  test('a flipped bit in any file is found out by opening or by checking', async () => {
    const paths = base.paths()
    expect(paths.length).toBeGreaterThan(25)
    for (const [i, path] of paths.entries()) {
      const length = base.readWhole(path).length
      const at = [0, length - 1, length >> 1, (length * 7) >> 3][i % 4] ?? 0
      expect(await isFoundOut(path, at * 8 + (i % 8)), `${path} at ${at}`).toBe(true)
    }
  })

  test('a flipped bit anywhere is found out, wherever chance puts it', async () => {
    const paths = base.paths()
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), async (pick, where) => {
        const path = paths[pick % paths.length] ?? ''
        const bits = base.readWhole(path).length * 8
        expect(await isFoundOut(path, where % bits)).toBe(true)
      }),
      { numRuns: 15 },
    )
  })
})

function flip(disk: LossyDisk, path: string, bit: number): void {
  edit(disk, path, (bytes) => {
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return bytes
  })
}

describe('the write-ahead log', () => {
  const lazy = { publishDelayMs: 3_600_000, groupEntriesMax: 1 }

  /** A ledger whose process died with three acknowledged records in no tile. */
  async function died() {
    const disk = new LossyDisk()
    const ledger = await openLossyLedger(disk, keys, { limits: lazy })
    const written = await fill(ledger, 3)
    disk.restart()
    const [path = ''] = disk.paths().filter((name) => name.includes('/wal/'))
    return { disk, written, path, size: ledger.size }
  }

  test('cut by a single byte, it lacks what was promised', async () => {
    const { disk, path } = await died()
    const whole = recordsOf(disk.readWhole(path))
    for (let cut = 1; cut < whole.length; cut += 97) {
      const copy = disk.copy()
      copy.overwrite(path, whole.subarray(0, whole.length - cut))
      await expect(openLossyLedger(copy, keys)).rejects.toThrow('ahead of the storage')
    }
  })

  test('with a flipped bit in any record, it is refused', async () => {
    const { disk, path } = await died()
    const bits = recordsOf(disk.readWhole(path)).length * 8
    for (let bit = 3; bit < bits; bit += 501) {
      const copy = disk.copy()
      flip(copy, path, bit)
      await expect(openLossyLedger(copy, keys), `bit ${bit}`).rejects.toThrow()
    }
  })

  test('torn at any byte of a record that was never acknowledged, it opens without that record', async () => {
    const { disk, path, written, size } = await died()
    const acknowledged = recordsOf(disk.readWhole(path))
    const longer = disk.copy()
    const more = await openUnheard(longer, path)
    for (let cut = acknowledged.length; cut < more.length; cut += 41) {
      const copy = disk.copy()
      copy.overwrite(path, more.subarray(0, cut))
      const ledger = await openLossyLedger(copy, keys)
      expect(ledger.size).toBe(size)
      for (const exchange of written) expect(await ledger.explain(exchange)).toHaveLength(1)
      await ledger.check()
      await ledger.close()
    }
  })

  test('a whole record that was never acknowledged is kept, because its head was signed', async () => {
    const { disk, path, size } = await died()
    const more = await openUnheard(disk.copy(), path)
    disk.overwrite(path, more)
    const ledger = await openLossyLedger(disk, keys)
    expect(ledger.size).toBe(size + 1)
    await ledger.check()
    await ledger.close()
  })

  /** The bytes of the log with one record more, as a crash before the head store leaves them. */
  async function openUnheard(disk: LossyDisk, path: string): Promise<Buffer> {
    const head = disk.readWhole('/ledger/head')
    const before = recordsOf(disk.readWhole(path))
    const ledger = await openLossyLedger(disk, keys, { limits: lazy })
    await fill(ledger, 1)
    disk.restart()
    expect(disk.readWhole('/ledger/head')).not.toEqual(head)
    const [newest = ''] = disk.paths().filter((name) => name.includes('/wal/'))
    return Buffer.concat([before, recordsOf(disk.readWhole(newest))])
  }
})

describe('receipts', () => {
  test('a receipt of one log does not verify for another with the same entries', async () => {
    const ledger = await openLossyLedger(base.copy(), keys, { limits, headDirectory })
    const receipt = (await ledger.findReceipt(exchanges[0] ?? '')) ?? noBytes
    const trust = trustOf(ledger)
    await expect(verifyReceipt(receipt, trust)).resolves.toBeDefined()
    const other = await openLossyLedger(new LossyDisk(), createLedgerKeys())
    await expect(verifyReceipt(receipt, otherFabric(trust, { vkey: other.vkey }))).rejects.toThrow(
      ReceiptError,
    )
    await Promise.all([ledger.close(), other.close()])
  })

  test('the proof, the leaf or the facts of another exchange do not fit', async () => {
    const ledger = await openLossyLedger(base.copy(), keys, { limits, headDirectory })
    const trust = trustOf(ledger)
    const [mine, theirs] = await Promise.all(
      [exchanges[1], exchanges[2]].map(async (exchange) =>
        parseReceipt((await ledger.findReceipt(exchange ?? '')) ?? noBytes),
      ),
    )
    const [own, foreign] = [mine?.entries[0], theirs?.entries[0]]
    if (mine === undefined || own === undefined || foreign === undefined)
      throw new Error('no receipt')
    await expect(
      verifyReceipt(createReceipt({ ...mine, entries: [own] }), trust),
    ).resolves.toBeDefined()
    for (const part of ['proof', 'leaf', 'facts'] as const) {
      const swappedPart = createReceipt({ ...mine, entries: [{ ...own, [part]: foreign[part] }] })
      await expect(verifyReceipt(swappedPart, trust), part).rejects.toThrow(ReceiptError)
    }
    // The entry of one exchange, whole, as that of another.
    const renamed = createReceipt({ ...mine, exchange: theirs?.exchange ?? mine.exchange })
    await expect(verifyReceipt(renamed, trust)).rejects.toMatchObject({
      code: 'EXCHANGE_MISMATCHED',
    })
    await ledger.close()
  })

  test('an entry of another log of the same key is not one of this log', async () => {
    const ledger = await openLossyLedger(base.copy(), keys, { limits, headDirectory })
    const trust = trustOf(ledger)
    const origin = 'other.test/ledger/a'
    const other = await openLossyLedger(new LossyDisk(), keys, { origin })
    const [exchange = ''] = await fill(other, 1)
    const receipt = (await other.findReceipt(exchange)) ?? noBytes
    await expect(verifyReceipt(receipt, trust)).rejects.toMatchObject({ code: 'ORIGIN_UNTRUSTED' })
    // Under the name of this log, its checkpoint still has the other one.
    const posing = createReceipt({ ...parseReceipt(receipt), origin: ledger.origin })
    await expect(verifyReceipt(posing, trust)).rejects.toMatchObject({ code: 'ORIGIN_UNTRUSTED' })
    // And a certificate for the other name does not make it a log of this trust domain.
    const misled = otherFabric(trust, { origin, vkey: other.vkey })
    await expect(verifyReceipt(receipt, misled)).rejects.toMatchObject({ code: 'ORIGIN_UNTRUSTED' })
    await Promise.all([ledger.close(), other.close()])
  })
})
