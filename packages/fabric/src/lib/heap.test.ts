import { expect, test } from 'vitest'
import { giveBackGarbage, HeapKeeper } from './heap.ts'

test('an object without references is collected', async () => {
  const reference = new WeakRef({ bytes: new Uint8Array(1024) })
  // A weak reference holds what it points to until the turn that made it is over.
  await new Promise((resolve) => setImmediate(resolve))
  await giveBackGarbage()
  expect(reference.deref()).toBeUndefined()
})

test('a surplus is collected once, and memory that is in use or stays is not a surplus', async () => {
  const mebibyte = 1024 * 1024
  let held = 100
  let used = 0
  let kept = 100
  let collections = 0
  let cpuUs = 0
  let load = 0
  const keeper = new HeapKeeper(
    () => ({ heldBytes: held * mebibyte, usedBytes: used * mebibyte, cpuUs: (cpuUs += load) }),
    () => {
      collections += 1
      held = kept
      return Promise.resolve()
    },
  )
  const checked = async (): Promise<number> => {
    await keeper.check()
    return collections
  }
  expect(await checked()).toBe(1)
  expect(await checked()).toBe(1)
  // A flood arrives, and then is over.
  held = 400
  used = 300
  expect(await checked()).toBe(1)
  used = 0
  load = 9_000_000
  expect(await checked(), 'while the processor is busy').toBe(1)
  load = 100_000
  expect(await checked()).toBe(2)
  // Memory that a collection leaves is in use by something that is not counted.
  held = kept = 300
  expect(await checked()).toBe(3)
  expect(await checked()).toBe(3)
  keeper.close()
})

test('a burst whose garbage is gone by itself is followed by one collection, for its pages', async () => {
  const mebibyte = 1024 * 1024
  let held = 100
  let collections = 0
  let cpuUs = 0
  let load = 0
  const keeper = new HeapKeeper(
    () => ({ heldBytes: held * mebibyte, usedBytes: 0, cpuUs: (cpuUs += load) }),
    () => {
      collections += 1
      held = 100
      return Promise.resolve()
    },
  )
  const checked = async (): Promise<number> => {
    await keeper.check()
    return collections
  }
  expect(await checked()).toBe(1)
  held = 300
  load = 9_000_000
  expect(await checked()).toBe(1)
  held = 140
  load = 3_000_000
  expect(await checked(), 'while there is traffic').toBe(1)
  load = 100_000
  expect(await checked()).toBe(2)
  held = 140
  expect(await checked()).toBe(2)
  keeper.close()
})
