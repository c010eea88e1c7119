import { describe, expect, test } from 'vitest'
import type { LedgerStore, StoredHead, WalRecord } from '../../packages/fabric/src/ledger/store.ts'

/** One place where a store lives; opening it again shows what was kept. */
export type OpenStore = () => Promise<LedgerStore>

const head = (size: number): StoredHead => ({ size, at: 1000 + size, checkpoint: `head ${size}\n` })

async function records(store: LedgerStore): Promise<readonly { at: number; text: string }[]> {
  const found: { at: number; text: string }[] = []
  await store.wal.replay(({ firstIndex, body }: WalRecord) => {
    found.push({ at: firstIndex, text: Buffer.from(body).toString() })
  })
  return found
}

/** Entries up to `first + count`, under the head that the store then promises. */
async function commit(store: LedgerStore, first: number, count: number, body: readonly string[]) {
  const previousSize = first
  if (first === 0) await store.heads.replace(null, head(0))
  await store.commit({
    firstIndex: first,
    count,
    body: body.map((part) => Buffer.from(part)),
    previousSize,
    head: head(first + count),
    fence: 1,
  })
}

const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString())

/** The contract of every ledger store. `createPlace` gives a fresh, empty place each time. */
export function ledgerStoreContract(engine: string, createPlace: () => Promise<OpenStore>): void {
  async function reopened(open: OpenStore, first: (store: LedgerStore) => Promise<void>) {
    const store = await open()
    await first(store)
    await store.close()
    return open()
  }

  describe(`ledger store on ${engine}`, () => {
    test('the newest head comes back, and a place without one has none', async () => {
      const store = await reopened(await createPlace(), async (first) => {
        expect(await first.heads.load()).toBeNull()
        for (let size = 0; size < 5; size++) await commit(first, size, 1, ['x'])
        expect(await first.heads.load()).toEqual({ head: head(5), intact: true })
        await first.heads.sync()
      })
      expect(await store.heads.load()).toEqual({ head: head(5), intact: true })
      await store.heads.replace(5, head(5))
      await commit(store, 5, 2, ['y'])
      await store.heads.sync()
      expect((await store.heads.load())?.head).toEqual(head(7))
      await store.close()
    })

    test('a head is replaced only by who knows it', async () => {
      const store = await (await createPlace())()
      await store.heads.replace(null, head(0))
      await expect(store.heads.replace(null, head(1))).rejects.toThrow()
      await expect(store.heads.replace(7, head(8))).rejects.toThrow()
      expect((await store.heads.load())?.head).toEqual(head(0))
      await store.close()
    })

    test('records come back whole and in order, after one start and after two', async () => {
      const open = await createPlace()
      const append = (store: LedgerStore, at: number) =>
        commit(store, at, 2, ['record ', String(at)])
      const second = await reopened(open, async (store) => {
        await append(store, 0)
        await append(store, 2)
      })
      expect(await records(second)).toEqual([
        { at: 0, text: 'record 0' },
        { at: 2, text: 'record 2' },
      ])
      expect((await second.heads.load())?.head).toEqual(head(4))
      await second.wal.rewrite()
      expect((await records(second)).map(({ at }) => at)).toEqual([0, 2])
      await append(second, 4)
      await second.close()
      const third = await open()
      expect((await records(third)).map(({ at }) => at)).toEqual([0, 2, 4])
      await third.close()
    })

    test('a commit under a head that is not the stored one is refused', async () => {
      const store = await (await createPlace())()
      await commit(store, 0, 2, ['one'])
      const body = [Buffer.from('two')]
      const stale = { firstIndex: 2, count: 1, body, previousSize: 1, head: head(3), fence: 1 }
      await expect(store.commit(stale)).rejects.toThrow()
      expect((await store.heads.load())?.head).toEqual(head(2))
      await store.close()
    })

    test('trimming keeps every record that reaches beyond the size', async () => {
      const store = await reopened(await createPlace(), async (first) => {
        for (let at = 0; at < 10; at += 2) await commit(first, at, 2, ['x'])
        await first.wal.trim(5)
      })
      const kept = (await records(store)).map(({ at }) => at)
      expect(kept.slice(-3)).toEqual([4, 6, 8])
      await store.close()
    })

    test('after a reset there are no records, and new ones can follow', async () => {
      const store = await reopened(await createPlace(), async (first) => {
        await commit(first, 0, 1, ['old'])
        await first.wal.reset()
      })
      expect(await records(store)).toEqual([])
      await store.heads.load()
      await commit(store, 1, 1, ['new'])
      expect(await records(store)).toEqual([{ at: 1, text: 'new' }])
      await store.close()
    })

    test('resources are written, replaced, read in part, listed and removed', async () => {
      const store = await reopened(await createPlace(), async ({ resources }) => {
        await resources.write([
          { path: 'checkpoint', bytes: Buffer.from('one') },
          { path: 'tile/0/x001/002.p/3', bytes: Buffer.from('0123456789') },
          { path: 'tile/0/x001/003', bytes: Buffer.from('full') },
        ])
        await resources.write([{ path: 'checkpoint', bytes: Buffer.from('two') }])
      })
      const { resources } = store
      expect(text(await resources.read('checkpoint'))).toBe('two')
      expect(text(await resources.readPart('tile/0/x001/002.p/3', 4, 3))).toBe('456')
      expect(text(await resources.readPart('tile/0/x001/002.p/3', 8, 30))).toBe('89')
      expect(await resources.readPart('tile/0/x001/009', 0, 1)).toBeNull()
      expect([...(await resources.list('tile/0/x001'))].sort()).toEqual(['002.p', '003'])
      expect(await resources.list('nowhere')).toEqual([])
      await resources.remove(['tile/0/x001/002.p/3', 'tile/0/x001/002.p', 'never/there'])
      expect(await resources.list('tile/0/x001')).toEqual(['003'])
      await store.close()
    })

    test('a resource outside the place is not reached', async () => {
      const store = await (await createPlace())()
      for (const path of ['../head', 'tile/../../head']) {
        await expect(store.resources.read(path)).rejects.toThrow()
      }
      await store.close()
    })

    test('only one holder at a time, and the next one after close', async () => {
      const open = await createPlace()
      const store = await open()
      await expect(open()).rejects.toThrow()
      expect(await store.freeBytes()).toBeGreaterThan(0)
      await store.close()
      await (await open()).close()
    })
  })
}
