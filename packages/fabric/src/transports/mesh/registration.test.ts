import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { FabricOrder } from './connector-agent.ts'
import { openRegistration } from './registration.ts'

const endpoint = { url: 'https://10.0.0.7:7000', protocol: 'http', connector: true } as const
const listing = { endpoints: [{ name: 'billing', ...endpoint }] }
const without = { endpoints: [{ name: 'other', ...endpoint }] }

let said: unknown[]
let status: number
beforeEach(() => {
  vi.useFakeTimers()
  said = []
  status = 200
})
afterEach(() => vi.useRealTimers())

function open() {
  return openRegistration({
    agent: {
      name: 'billing',
      request: async ({ path, body }: FabricOrder) => {
        const { endpoints } = JSON.parse(Buffer.from(body ?? []).toString()) as {
          endpoints: readonly unknown[]
        }
        said.push(path === '/v1/mesh/endpoints' ? endpoints : path)
        return { status, body: new Uint8Array(0) }
      },
    },
    endpoint,
    clock: { monotonic: () => Date.now() },
    log: () => undefined,
  })
}

test('a fabric that has forgotten the endpoint receives it again at once', async () => {
  const registration = await open()
  await vi.advanceTimersByTimeAsync(5_000)
  registration.follow(listing)
  await vi.advanceTimersByTimeAsync(0)
  expect(said).toEqual([[endpoint]])
  registration.follow(without)
  await vi.advanceTimersByTimeAsync(0)
  expect(said).toEqual([[endpoint], [endpoint]])
  registration.follow(listing)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(said).toHaveLength(2)
  await registration.withdraw()
})

test('an endpoint that is unlisted again and again is repeated once a second, not more', async () => {
  const registration = await open()
  for (let ms = 0; ms < 10_000; ms += 10) {
    registration.follow(without)
    await vi.advanceTimersByTimeAsync(10)
  }
  expect(said.length).toBeLessThanOrEqual(11)
  expect(said.length).toBeGreaterThan(8)
  await registration.withdraw()
})

test('an endpoint that the fabric did not take is sent again, until the fabric lists it', async () => {
  const registration = await open()
  status = 503
  registration.follow(without)
  await vi.advanceTimersByTimeAsync(3_500)
  expect(said).toHaveLength(4)
  status = 200
  await vi.advanceTimersByTimeAsync(1_000)
  registration.follow(listing)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(said).toHaveLength(5)
  await registration.withdraw()
})

test('a registration is renewed thrice in its lifetime, whatever was seen', async () => {
  const registration = await open()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(said).toHaveLength(4)
  await registration.withdraw()
})

test('a withdrawn endpoint stays withdrawn', async () => {
  const registration = await open()
  await vi.advanceTimersByTimeAsync(5_000)
  registration.follow(without)
  await registration.withdraw()
  registration.follow(without)
  await vi.advanceTimersByTimeAsync(120_000)
  expect(said).toEqual([[endpoint], []])
})

test('a connector whose first registration is refused does not open', async () => {
  status = 403
  await expect(open()).rejects.toThrow('403')
})
