import { expect, test } from 'vitest'
import { giveBackGarbage } from './heap.ts'

test('what nobody refers to is collected', async () => {
  const reference = new WeakRef({ bytes: new Uint8Array(1024) })
  // A weak reference holds what it points to until the turn that made it is over.
  await new Promise((resolve) => setImmediate(resolve))
  await giveBackGarbage()
  expect(reference.deref()).toBeUndefined()
})
