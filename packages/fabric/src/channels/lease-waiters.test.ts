import { expect, test } from 'vitest'
import { LeaseWaiters } from './lease-waiters.ts'

const longMs = 60_000
const orders = { channel: 'orders', identity: 'a' }
const others = { channel: 'others', identity: 'a' }

test('a waiter is woken for its own channel alone', async () => {
  const waiters = new LeaseWaiters()
  let heard = ''
  const first = waiters.wait(orders, longMs, null).then((waited) => (heard += `orders ${waited}`))
  const second = waiters.wait(others, longMs, null)
  waiters.wake('orders')
  await first
  expect(heard).toBe('orders true')
  waiters.wakeAll()
  expect(await second).toBe(true)
})

test('beyond the bound a caller is refused at once, until another one has left', async () => {
  const waiters = new LeaseWaiters(1)
  const leaving = new AbortController()
  const waiting = waiters.wait(orders, longMs, leaving.signal)
  expect(await waiters.wait(orders, longMs, null)).toBe(false)
  leaving.abort()
  expect(await waiting).toBe(true)
  expect(await waiters.wait(orders, longMs, leaving.signal)).toBe(false)
  const next = waiters.wait(orders, longMs, null)
  waiters.wake('orders')
  expect(await next).toBe(true)
})

test('one identity fills its own share of the waiters, not that of another', async () => {
  const waiters = new LeaseWaiters(10, 2)
  const held = [1, 2].map(() => waiters.wait(orders, longMs, null))
  expect(await waiters.wait(orders, longMs, null)).toBe(false)
  const other = waiters.wait({ channel: 'orders', identity: 'b' }, longMs, null)
  waiters.wake('orders')
  expect(await Promise.all([...held, other])).toEqual([true, true, true])
})

test('of many who are woken, each identity’s first comes before the second of any other', async () => {
  const waiters = new LeaseWaiters()
  const woken: string[] = []
  const waits = ['a', 'a', 'a', 'b'].map(async (identity) => {
    await waiters.wait({ channel: 'orders', identity }, longMs, null)
    woken.push(identity)
  })
  waiters.wake('orders')
  await Promise.all(waits)
  expect(woken).toEqual(['a', 'b', 'a', 'a'])
})
