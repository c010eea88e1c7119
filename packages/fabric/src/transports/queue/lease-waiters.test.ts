import { expect, test } from 'vitest'
import { LeaseWaiters } from './lease-waiters.ts'

const longMs = 60_000

test('who waits hears of its channel alone', async () => {
  const waiters = new LeaseWaiters()
  let heard = ''
  const orders = waiters
    .wait('orders', longMs, null)
    .then((waited) => (heard += `orders ${waited}`))
  const others = waiters.wait('others', longMs, null)
  waiters.wake('orders')
  await orders
  expect(heard).toBe('orders true')
  waiters.wakeAll()
  expect(await others).toBe(true)
})

test('beyond the bound nobody waits, and is told so, until another one has left', async () => {
  const waiters = new LeaseWaiters(1)
  const leaving = new AbortController()
  const waiting = waiters.wait('orders', longMs, leaving.signal)
  expect(await waiters.wait('orders', longMs, null)).toBe(false)
  leaving.abort()
  expect(await waiting).toBe(true)
  expect(await waiters.wait('orders', longMs, leaving.signal)).toBe(false)
  const next = waiters.wait('orders', longMs, null)
  waiters.wake('orders')
  expect(await next).toBe(true)
})
