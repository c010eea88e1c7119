import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { ownedIds, stoppedClock } from '../../../../../test/harness/owners.ts'
import { memoryRecordStore } from '../../adapters/memory/record-store.ts'
import { createIdFilter, foldedId, mayBeKnown } from '../reading/known-ids.ts'
import { idKey, OwnedIds } from './owned-ids.ts'

test('the first owner of an id keeps it', async () => {
  const ids = ownedIds({ countMax: 10, perOwnerMax: 10 })
  await ids.claim('billing', ['task 1'], 'alice')
  await ids.claim('billing', ['task 1'], 'bob')
  expect(ids.find('billing', 'task 1')).toBe('alice')
  expect(ids.find('shop', 'task 1')).toBeNull()
})

test('an id that no client would send, or too long to keep, has no owner', async () => {
  const ids = ownedIds({ countMax: 10, perOwnerMax: 10 })
  await ids.claim('billing', [''], 'alice')
  await ids.claim('billing', ['x'.repeat(257)], 'alice')
  expect(ids.find('billing', '')).toBeNull()
  expect(ids.find('billing', 'x'.repeat(257))).toBeNull()
})

test('an id of a megabyte without an owner is rejected without folding', async () => {
  const ids = ownedIds({ countMax: 10, perOwnerMax: 10 })
  const long = `1${'x'.repeat(255)}`
  await ids.claim('billing', [long], 'alice')
  const spread = `${long.slice(0, 128)}${'-'.repeat(1_000)}${long.slice(128).toUpperCase()}`
  expect(ids.find('billing', spread)).toBe('alice')
  const fold = vi.spyOn(Array, 'from')
  try {
    await ids.claim('billing', ['x'.repeat(1_000_000)], 'bob')
    expect(ids.find('billing', 'x'.repeat(1_000_000))).toBeNull()
    expect(fold).not.toHaveBeenCalled()
  } finally {
    fold.mockRestore()
  }
})

test('a caller that fills its share loses its oldest, and other callers lose nothing', async () => {
  const ids = ownedIds({ countMax: 100, perOwnerMax: 2 })
  await ids.claim('billing', ['task a'], 'alice')
  for (const n of [1, 2]) await ids.claim('billing', [`task ${n}`], 'bob')
  await ids.claim('billing', ['task 3'], 'bob')
  const owners = ['a', 1, 2, 3].map((n) => ids.find('billing', `task ${n}`))
  expect(owners).toEqual(['alice', null, 'bob', 'bob'])
})

test('when all is full, the caller that holds the most loses one', async () => {
  const ids = ownedIds({ countMax: 3, perOwnerMax: 3 })
  for (const n of [1, 2, 3]) await ids.claim('billing', [`task ${n}`], 'bob')
  await ids.claim('billing', ['task a'], 'alice')
  const owners = [1, 2, 3, 'a'].map((n) => ids.find('billing', `task ${n}`))
  expect(owners).toEqual([null, 'bob', 'bob', 'alice'])
})

interface Owned {
  readonly receiver: string
  readonly id: string
  readonly owner: string
}

/** As `OwnedIds`, by a look at everything in each step. In the order of the claims. */
class PlainIds {
  ids: readonly Owned[] = []

  find(receiver: string, id: string): string | null {
    return this.ids.find((each) => each.receiver === receiver && each.id === id)?.owner ?? null
  }

  shareOf({ receiver, owner }: Pick<Owned, 'receiver' | 'owner'>): readonly Owned[] {
    return this.ids.filter((each) => each.receiver === receiver && each.owner === owner)
  }

  /**
   * If several shares are the largest, any of them may lose an id: the model removes the one that
   * `isLost` names.
   */
  claim(owned: Owned, isLost: (id: string) => boolean): void {
    if (this.ids.some(({ receiver, id }) => receiver === owned.receiver && id === owned.id)) return
    this.ids = [...this.ids, owned]
    const own = this.shareOf(owned)
    if (own.length > limits.perOwnerMax) this.#forget(own[0])
    if (this.ids.length <= limits.countMax) return
    const lost = this.ids.filter(({ id }) => isLost(id))
    expect(lost).toHaveLength(1)
    const sizes = this.ids.map((each) => this.shareOf(each).length)
    const share = lost[0] === undefined ? [] : this.shareOf(lost[0])
    expect(share).toHaveLength(Math.max(...sizes))
    expect(share[0]).toBe(lost[0])
    this.#forget(lost[0])
  }

  #forget(owned: Owned | undefined): void {
    this.ids = this.ids.filter((each) => each !== owned)
  }
}

const limits = { countMax: 12, perOwnerMax: 5 }

test('for any claims and lookups, each id has the owner that a full scan gives it', async () => {
  const step = fc.record({
    isClaim: fc.boolean(),
    receiver: fc.constantFrom('billing', 'shop'),
    owner: fc.constantFrom('alice', 'bob', 'carol'),
    number: fc.nat(15),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 200 }), async (steps) => {
      const filter = createIdFilter()
      const ids = ownedIds(limits, filter)
      const plain = new PlainIds()
      for (const { isClaim, receiver, owner, number } of steps) {
        const id = `task ${receiver}${number}`
        if (!isClaim) {
          expect(ids.find(receiver, id)).toBe(plain.find(receiver, id))
          continue
        }
        await ids.claim(receiver, [id], owner)
        plain.claim(
          { receiver, id, owner },
          (each) => !mayBeKnown([filter], each.slice('task '.length)),
        )
      }
      for (const { receiver, id, owner } of plain.ids) expect(ids.find(receiver, id)).toBe(owner)
    }),
  )
})

test('the first claim of an id wins, through whichever process it came', async () => {
  const store = memoryRecordStore({ clock: stoppedClock })
  const of = { store, clock: stoppedClock, collection: 'task', lifetimeMs: 1_000 } as const
  const [here, there] = [new OwnedIds(of), new OwnedIds(of)]
  await Promise.all([
    there.claim('billing', ['task 1'], 'alice'),
    here.claim('billing', ['task 1'], 'bob'),
  ])
  expect(await here.read('billing', ['task 1'])).toEqual(new Map([['task 1', 'alice']]))
  expect(await there.read('billing', ['task 1'])).toEqual(new Map([['task 1', 'alice']]))
  expect(here.find('billing', 'task 1')).toBe('alice')
})

test('an id that is as long as a message costs nothing', async () => {
  const ids = ownedIds({ countMax: 10, perOwnerMax: 10 })
  const long = `task ${'x'.repeat(4 * 1024 * 1024)}`
  await ids.claim('billing', [long], 'alice')
  expect(ids.find('billing', long)).toBeNull()
  expect(idKey(long)).toBe(long)
  const hyphens = '-'.repeat(4 * 1024 * 1024)
  const id = '0123456789abcdef'
  expect(idKey(`task ${id}${hyphens}`)).toBe(`task ${id}`)
  for (const few of ['', 'a', id.slice(1)]) expect(idKey(few + hyphens)).toBe(few + hyphens)
})

test('an id is folded as in texts, whatever its kind', () => {
  const unit = fc.constantFrom(...'aZ09-_ .:İΣǅЖ\u0000\u007f\ud800'.split(''), '--------')
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 60 }), (id) => {
      for (const kind of ['task ', 'context ', 'event ']) {
        expect(idKey(kind + id)).toBe(kind + (id.length > 256 ? idKey(id) : foldedId(id)))
      }
    }),
  )
})

test('an id that was folded once is the same when it is folded again', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (text) => {
      for (const id of [text, `task ${text}`, `${text}-0123456789-ABCDEF`, `event ${text}İΣǅ`]) {
        expect(idKey(idKey(id))).toBe(idKey(id))
      }
    }),
  )
})
