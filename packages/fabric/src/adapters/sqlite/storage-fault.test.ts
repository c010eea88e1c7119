import { expect, test, vi } from 'vitest'
import { watchStorage } from './storage-fault.ts'

function failing(errcode: number) {
  const error = Object.assign(new Error('of SQLite'), { errcode })
  const onFault = vi.fn<(cause: unknown) => void>()
  const store = watchStorage({ load: () => Promise.reject<string>(error) }, onFault)
  return { store, onFault, error }
}

test.each([
  [10, 'an I/O error'],
  [266, 'an I/O error of a read'],
  [11, 'damage'],
  [26, 'a file that is not a database'],
])('%i, %s, is reported and rejects', async (code) => {
  const { store, onFault, error } = failing(code)
  await expect(store.load()).rejects.toBe(error)
  expect(onFault).toHaveBeenCalledExactlyOnceWith(error)
})

test.each([
  [13, 'a full disk'],
  [5, 'a lock'],
  [19, 'a constraint'],
])('%i, %s, only rejects', async (code) => {
  const { store, onFault } = failing(code)
  await expect(store.load()).rejects.toThrow('of SQLite')
  expect(onFault).not.toHaveBeenCalled()
})

test('a successful call is passed on', async () => {
  const store = watchStorage({ load: async (table: string) => [table] }, () => undefined)
  expect(await store.load('agents')).toEqual(['agents'])
})

test('what is returned at once stays as it is', () => {
  const stop = () => undefined
  const store = watchStorage({ onWake: () => stop }, () => undefined)
  expect(store.onWake()).toBe(stop)
})
