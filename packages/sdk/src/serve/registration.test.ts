import { utf8 } from '@countersign/protocol'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Identity } from '../identity/identity.ts'
import { registerEndpoint } from './registration.ts'

const endpoint = { url: 'https://127.0.0.1:9000', protocol: 'http' } as const

/** An identity whose fabric answers with this status, and keeps the endpoints of each request. */
function openIdentity() {
  const asked: unknown[] = []
  const fabric = { status: 200 }
  async function* body() {
    yield await Promise.resolve(utf8('{}'))
  }
  const request = ({ body: sent }: { readonly body: Uint8Array }) => {
    asked.push(JSON.parse(Buffer.from(sent).toString()).endpoints)
    return Promise.resolve({ status: fabric.status, headers: [], body: body() })
  }
  return { identity: { connection: { request } } as unknown as Identity, asked, fabric }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('an endpoint is registered at once, then again and again, and withdrawn at the end', async () => {
  const { identity, asked } = openIdentity()
  const registration = await registerEndpoint(identity, endpoint, () => undefined)
  expect(asked).toEqual([[endpoint]])
  await vi.advanceTimersByTimeAsync(40_000)
  expect(asked).toEqual([[endpoint], [endpoint], [endpoint]])
  await registration.withdraw()
  expect(asked.at(-1)).toEqual([])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(asked).toHaveLength(4)
})

test('a fabric that refuses at first fails the registration', async () => {
  const { identity, fabric } = openIdentity()
  fabric.status = 500
  const registering = registerEndpoint(identity, endpoint, () => undefined)
  await expect(registering).rejects.toMatchObject({ code: 'ANSWER_MALFORMED' })
})

test('a later failure is reported, and the next turn tries again', async () => {
  const { identity, asked, fabric } = openIdentity()
  const faults: Error[] = []
  const registration = await registerEndpoint(identity, endpoint, (error) => faults.push(error))
  fabric.status = 500
  await vi.advanceTimersByTimeAsync(20_000)
  expect(faults).toMatchObject([{ code: 'ANSWER_MALFORMED' }])
  fabric.status = 200
  await vi.advanceTimersByTimeAsync(20_000)
  expect(faults).toHaveLength(1)
  expect(asked).toHaveLength(3)
  await registration.withdraw()
})

test('a withdrawal that the fabric does not take ends all the same', async () => {
  const { identity, fabric } = openIdentity()
  const registration = await registerEndpoint(identity, endpoint, () => undefined)
  fabric.status = 500
  await expect(registration.withdraw()).resolves.toBeUndefined()
})
