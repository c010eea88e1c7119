import { describe, expect, test } from 'vitest'
import { stoppedClock } from '../../../../test/harness/owners.ts'
import { memoryRecordStore } from '../adapters/memory/record-store.ts'
import { systemRandom } from '../lib/random.ts'
import { Withdrawal } from '../lib/refusal.ts'
import { UpstreamError, WithdrawnError } from '../lib/upstream-error.ts'
import { createBalancer } from './balancer.ts'
import { endpointsPerInstanceMax, instancesPerAgentMax } from './endpoint-registry.ts'
import { SessionPlaces } from './session-places.ts'
import type { Endpoint, Upstream, UpstreamResponse } from './upstream.ts'

const endpoints: readonly Endpoint[] = ['a', 'b', 'c'].map((name) => ({
  url: `https://${name}.test`,
  spiffeId: null,
}))
const route = { name: 'billing', protocol: 'http', endpoints } as const
const request = {
  method: 'POST',
  path: '/',
  headers: [],
  body: new Uint8Array(0),
  signal: new AbortController().signal,
  account: { take: () => undefined, give: () => undefined },
  owner: 'caller',
}
const answer: UpstreamResponse = {
  status: 200,
  headers: [],
  body: (async function* () {})(),
  discard: () => undefined,
}

/** Fails at the endpoints in `down` in the given way, and returns the list of endpoints tried. */
function upstreamWith(
  down: ReadonlySet<string>,
  progress: 'not-sent' | 'sent',
  headers: UpstreamResponse['headers'] = [],
) {
  const tried: string[] = []
  const upstream: Upstream = {
    request: ({ url }) => {
      tried.push(url)
      if (!down.has(url)) {
        return Promise.resolve(headers.length === 0 ? answer : { ...answer, headers })
      }
      return Promise.reject(new UpstreamError('down', { progress, cause: null }))
    },
    close: () => Promise.resolve(),
  }
  return { upstream, tried }
}

const newPlaces = () =>
  new SessionPlaces({
    store: memoryRecordStore({ clock: stoppedClock }),
    clock: stoppedClock,
  })

test('a request of which a part left is not sent elsewhere, by the word of its receiver', async () => {
  let tried = 0
  const upstream: Upstream = {
    request: () => {
      tried += 1
      const stated = { progress: 'not-sent', isStated: true, cause: null } as const
      return Promise.reject(new UpstreamError('refused', stated))
    },
    close: () => Promise.resolve(),
  }
  const sending = createBalancer(upstream, systemRandom, () => 0).request(route, request)
  await expect(sending).rejects.toMatchObject({ progress: 'not-sent', isStated: true })
  expect(tried).toBe(1)
})

describe('requests over several endpoints', () => {
  test('reach every healthy one, and leave out one that failed [deliver:balance@mesh]', async () => {
    const now = { ms: 0 }
    const { upstream, tried } = upstreamWith(new Set(['https://a.test']), 'not-sent')
    const balancer = createBalancer(upstream, systemRandom, () => now.ms)
    for (let i = 0; i < 60; i++) expect(await balancer.request(route, request)).toBe(answer)
    expect(tried.filter((url) => url === 'https://a.test')).toHaveLength(1)
    expect(new Set(tried)).toEqual(new Set(endpoints.map(({ url }) => url)))
    // It is looked at again once its time out is over.
    now.ms = 60_000
    for (let i = 0; i < 60; i++) await balancer.request(route, request)
    expect(tried.filter((url) => url === 'https://a.test').length).toBeGreaterThan(1)
  })

  test('are never repeated once a receiver may have acted [deliver:no-silent-repeat]', async () => {
    const { upstream, tried } = upstreamWith(new Set(endpoints.map(({ url }) => url)), 'sent')
    const balancer = createBalancer(upstream, systemRandom, () => 0)
    await expect(balancer.request(route, request)).rejects.toMatchObject({ progress: 'sent' })
    expect(tried).toHaveLength(1)
  })

  test('with a second copy that may not leave are not reported as unsent', async () => {
    const right = new Withdrawal('caller-quarantined', 'told to')
    const failures = [
      new UpstreamError('reset', { progress: 'sent', stale: true, cause: null }),
      new WithdrawnError(right),
    ]
    const upstream: Upstream = {
      request: () => Promise.reject(failures.shift()),
      close: () => Promise.resolve(),
    }
    const balancer = createBalancer(upstream, systemRandom, () => 0)
    const get = { ...request, method: 'GET' }
    await expect(balancer.request(route, get)).rejects.toMatchObject({
      ...{ progress: 'sent', attempts: 1 },
    })
    // Without a first copy, nothing has left.
    failures.push(new UpstreamError('down', { progress: 'not-sent', cause: null }))
    failures.push(new WithdrawnError(right))
    await expect(balancer.request(route, get)).rejects.toBeInstanceOf(WithdrawnError)
  })

  test('end after a bounded number of endpoints that cannot be reached', async () => {
    const { upstream, tried } = upstreamWith(new Set(endpoints.map(({ url }) => url)), 'not-sent')
    const balancer = createBalancer(upstream, systemRandom, () => 0)
    await expect(balancer.request(route, request)).rejects.toMatchObject({ progress: 'not-sent' })
    expect(tried).toHaveLength(3)
  })

  test('reach each of the most that one agent can have', async () => {
    const { upstream, tried } = upstreamWith(new Set(), 'not-sent')
    const balancer = createBalancer(upstream, systemRandom, () => 0)
    const most = Array.from({ length: endpointsPerInstanceMax * instancesPerAgentMax }, (_, i) => ({
      url: `https://i${i}.test`,
      spiffeId: null,
    }))
    const wide = { ...route, endpoints: most }
    for (let i = 0; i < 400; i++) await balancer.request(wide, request)
    expect(tried.some((url) => Number(/\d+/.exec(url)) > 255)).toBe(true)
  })

  test('without any endpoint reach no receiver, and are reported as not sent', async () => {
    const { upstream, tried } = upstreamWith(new Set(), 'sent')
    const balancer = createBalancer(upstream, systemRandom, () => 0)
    const none = { ...route, endpoints: [] }
    await expect(balancer.request(none, request)).rejects.toMatchObject({ progress: 'not-sent' })
    expect(tried).toEqual([])
  })

  test('go on in an MCP session where it was opened, and nowhere else while it stands', async () => {
    const down = new Set<string>()
    const { upstream, tried } = upstreamWith(down, 'not-sent', [['Mcp-Session-Id', 'one']])
    const balancer = createBalancer(upstream, systemRandom, () => 0, { sessions: newPlaces() })
    await balancer.request(route, request)
    const [opener = ''] = tried
    const inSession = { ...request, headers: [['mcp-session-id', 'one']] } as const
    for (let i = 0; i < 40; i++) await balancer.request(route, inSession)
    expect(new Set(tried)).toEqual(new Set([opener]))
    down.add(opener)
    tried.length = 0
    await expect(balancer.request(route, inSession)).rejects.toMatchObject({ progress: 'not-sent' })
    expect(tried).toEqual([opener])
    // An instance that is gone for good takes its sessions along; the next one reports that itself.
    const left = { ...route, endpoints: endpoints.filter(({ url }) => url !== opener) }
    expect(await balancer.request(left, inSession)).toMatchObject({ status: 200 })
  })

  test('know an MCP session by its agent, too: another agent may give out the same id', async () => {
    const { upstream, tried } = upstreamWith(new Set(), 'not-sent', [['mcp-session-id', 'one']])
    const balancer = createBalancer(upstream, systemRandom, () => 0, { sessions: newPlaces() })
    const inSession = { ...request, headers: [['mcp-session-id', 'one']] } as const
    await balancer.request(route, request)
    const [opener = ''] = tried
    const places = new Set<string>()
    for (let i = 0; i < 60; i++) {
      tried.length = 0
      await balancer.request({ ...route, name: `other-${i}` }, inSession)
      places.add(tried[0] ?? '')
    }
    expect(places.size).toBeGreaterThan(1)
    expect(places).toContain(opener)
  })
})

test('a request whose session cannot be located is not sent', async () => {
  const { upstream, tried } = upstreamWith(new Set(), 'not-sent')
  const store = {
    ...memoryRecordStore({ clock: stoppedClock }),
    findEach: () => Promise.reject(new Error('no store')),
  }
  const sessions = new SessionPlaces({ store, clock: stoppedClock })
  const balancer = createBalancer(upstream, systemRandom, () => 0, { sessions })
  const inSession = { ...request, headers: [['mcp-session-id', 'one']] } as const
  await expect(balancer.request(route, inSession)).rejects.toMatchObject({ progress: 'not-sent' })
  expect(tried).toEqual([])
})
