import { expect, test } from 'vitest'
import { stoppedClock } from '../../../../test/harness/owners.ts'
import { memoryRecordStore } from '../adapters/memory/record-store.ts'
import type { Route } from './routes.ts'
import { SessionPlaces, sessionIdLengthMax } from './session-places.ts'
import type { Endpoint, UpstreamRequest, UpstreamResponse } from './upstream.ts'

const endpoint = (url: string): Endpoint => ({ url, spiffeId: null })
const route = (name: string, ...urls: readonly string[]): Route => ({
  ...{ name, protocol: 'mcp', endpoints: urls.map(endpoint) },
})
const headers = (session: string) => [['mcp-session-id', session]] as const
const request = (session: string) => ({ headers: headers(session) }) as unknown as UpstreamRequest
const response = (session: string) => ({ headers: headers(session) }) as unknown as UpstreamResponse

const shop = route('shop', 'http://a', 'http://b')

test('an endpoint that one process learns is found by another, for its receiver alone', async () => {
  const store = memoryRecordStore({ clock: stoppedClock })
  const [here, there] = [1, 2].map(() => new SessionPlaces({ store, clock: stoppedClock })) as [
    SessionPlaces,
    SessionPlaces,
  ]
  await here.learn(shop, endpoint('http://b'), response('s1'))
  expect(await there.find(shop, request('s1'))).toBe('http://b')
  expect(await there.find(shop, request('s2'))).toBeNull()
  expect(await there.find(route('bank', 'http://a', 'http://b'), request('s1'))).toBeNull()
  // The endpoint has left the route.
  expect(await there.find(route('shop', 'http://a', 'http://c'), request('s1'))).toBeNull()
})

test('where there is one endpoint, no session, or an id that is too long, nothing is read', () => {
  const store = memoryRecordStore({ clock: stoppedClock })
  const places = new SessionPlaces({ store, clock: stoppedClock })
  const long = 's'.repeat(sessionIdLengthMax + 1)
  expect(places.find(route('shop', 'http://a'), request('s1'))).toBeNull()
  expect(places.find(shop, { headers: [] } as unknown as UpstreamRequest)).toBeNull()
  expect(places.find(shop, request(long))).toBeNull()
  expect(places.learn(shop, endpoint('http://a'), response(long))).toBeNull()
})

test('a store that fails rejects a search, and does not hold up an answer', async () => {
  const store = {
    ...memoryRecordStore({ clock: stoppedClock }),
    findEach: () => Promise.reject(new Error('no store')),
    put: () => Promise.reject(new Error('no store')),
  }
  const places = new SessionPlaces({ store, clock: stoppedClock })
  await expect(places.find(shop, request('s1'))).rejects.toThrow('no store')
  await places.learn(shop, endpoint('http://a'), response('s1'))
})
