import { expect, test } from 'vitest'
import { giveBackGarbage } from '../lib/heap.ts'
import { Interruption } from './interruption.ts'

const never = new Promise<never>(() => undefined)

test('a wait gives what was waited for, or fails as it fails', async () => {
  const interruption = new Interruption<'over'>()
  expect(await interruption.or(Promise.resolve(1))).toBe(1)
  await expect(interruption.or(Promise.reject(new Error('broken')))).rejects.toThrow('broken')
})

test('an interruption ends every wait, also those that begin later, and the first reason stays', async () => {
  const interruption = new Interruption<string>()
  const waits = [interruption.or(never), interruption.or(never)]
  interruption.come('left')
  interruption.come('left again')
  expect(await Promise.all(waits)).toEqual(['left', 'left'])
  expect(await interruption.or(never)).toBe('left')
  expect(await interruption.or(Promise.resolve(1))).toBe('left')
})

test('work that fails after the interruption is not an unhandled rejection', async () => {
  const interruption = new Interruption<'over'>()
  const unhandled: unknown[] = []
  const listener = (cause: unknown) => void unhandled.push(cause)
  process.on('unhandledRejection', listener)
  const { promise, reject } = Promise.withResolvers<never>()
  const wait = interruption.or(promise)
  interruption.come('over')
  reject(new Error('late'))
  expect(await wait).toBe('over')
  expect(await interruption.or(Promise.reject(new Error('later')))).toBe('over')
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', listener)
  expect(unhandled).toEqual([])
})

test('an awaited value is not kept while nothing interrupts', async () => {
  const interruption = new Interruption<'over'>()
  const values: WeakRef<object>[] = []
  for (let turn = 0; turn < 100; turn++) {
    values.push(new WeakRef((await interruption.or(Promise.resolve({ turn }))) as object))
  }
  // A weak reference holds what it points to until the turn that made it is over.
  await new Promise((resolve) => setImmediate(resolve))
  await giveBackGarbage()
  expect(values.filter((value) => value.deref() !== undefined).length).toBeLessThan(5)
  interruption.come('over')
})
