import { createExchangeId } from '@countersign/protocol'
import { describe, expect, test, vi } from 'vitest'
import { createOtherSlots, type SlotHolder } from './other-slots.ts'

const exchangeOf = (slot: string) => createExchangeId(slot, 0, new Uint8Array(10))
const origin = 'https://replica-a.test:8443'

function slotsWith(holder: SlotHolder | null) {
  return createOtherSlots({
    slot: 'a',
    listHolders: () => Promise.resolve(holder === null ? [] : [holder]),
    ...{ origin: () => origin, monotonic: () => 0 },
  })
}

describe('an exchange', () => {
  const held = { slot: 'b', isHeld: true, address: 'https://replica-b.test:8443' }

  test('of this log, and one of a slot that was never taken, are looked up here', async () => {
    expect(await slotsWith(held).refusalOf(exchangeOf('a'))).toBeNull()
    expect(await slotsWith(null).refusalOf(exchangeOf('z'))).toBeNull()
    expect(await slotsWith(held).refusalOf('exc_bbb_0')).toBeNull()
  })

  test('of another log is refused with slot and address of its holder', async () => {
    const { address } = held
    expect(await slotsWith(held).refusalOf(exchangeOf('b'))).toMatchObject({
      ...{ code: 'EXCHANGE_ELSEWHERE', byOthers: true },
      holder: { slot: 'b', address },
    })
  })

  test.each([
    ['no process holds the slot', { ...held, isHeld: false }],
    ['the holder does not listen yet', { ...held, address: '' }],
    ['the holder is reached under the name of this process', { ...held, address: origin }],
    ['the address is more than an origin', { ...held, address: `${held.address}/path` }],
  ])('is refused without an address while %s', async (_, holder) => {
    expect(await slotsWith(holder).refusalOf(exchangeOf('b'))).toMatchObject({
      ...{ code: 'EXCHANGE_ELSEWHERE', holder: { slot: 'b', address: null } },
    })
  })

  test('is undecided while the leases cannot be read', async () => {
    const slots = createOtherSlots({
      listHolders: () => Promise.reject(new Error('no database')),
      ...{ slot: 'a', origin: () => origin, monotonic: () => 0 },
    })
    expect(await slots.refusalOf(exchangeOf('b'))).toMatchObject({ code: 'UNDECIDED' })
    expect(await slots.addressOf('b')).toBeNull()
  })
})

test('addresses are read once a second, however many clients ask for them', async () => {
  const address = 'https://replica-b.test:8443'
  const listHolders = vi.fn<() => Promise<readonly SlotHolder[]>>(async () => [
    { slot: 'b', isHeld: true, address },
  ])
  let now = 0
  const slots = createOtherSlots({
    ...{ slot: 'a', listHolders, origin: () => origin, monotonic: () => now },
  })
  const asked = Array.from({ length: 20 }, () => slots.addressOf('b'))
  expect(new Set(await Promise.all(asked))).toEqual(new Set([address]))
  expect(await slots.addressOf('a')).toBeNull()
  expect(await slots.addressOf('zz')).toBeNull()
  expect(listHolders).toHaveBeenCalledOnce()
  now = 1_000
  expect(await slots.addressOf('b')).toBe(address)
  expect(listHolders).toHaveBeenCalledTimes(2)
})
