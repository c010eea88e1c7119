import { describe, expect, test } from 'vitest'
import { systemRandom } from '../../lib/random.ts'
import { Refusal } from '../../lib/refusal.ts'
import { UpstreamError } from '../../lib/upstream-error.ts'
import type { Endpoint, Upstream, UpstreamResponse } from '../http/upstream.ts'
import { createBalancer, requestBalanced } from './balancer.ts'

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
}
const answer: UpstreamResponse = {
  status: 200,
  headers: [],
  body: (async function* () {})(),
  discard: () => undefined,
}

/** Fails at the endpoints in `down` in the given way, and says who was tried. */
function upstreamWith(down: ReadonlySet<string>, unsent: boolean) {
  const tried: string[] = []
  const upstream: Upstream = {
    request: ({ url }) => {
      tried.push(url)
      if (!down.has(url)) return Promise.resolve(answer)
      const failure = { unsent, timedOut: false, cause: null }
      return Promise.reject(new UpstreamError('down', failure))
    },
    close: () => Promise.resolve(),
  }
  return { upstream, tried }
}

describe('requests over several endpoints', () => {
  test('reach every healthy one, and leave out one that failed [deliver:balance]', async () => {
    const now = { ms: 0 }
    const balancer = createBalancer(systemRandom, () => now.ms)
    const { upstream, tried } = upstreamWith(new Set(['https://a.test']), true)
    for (let i = 0; i < 60; i++) {
      const response = await requestBalanced(upstream, balancer, route, request)
      expect(response).not.toBeInstanceOf(Refusal)
    }
    expect(tried.filter((url) => url === 'https://a.test')).toHaveLength(1)
    expect(new Set(tried)).toEqual(new Set(endpoints.map(({ url }) => url)))
    // It is looked at again once its time out is over.
    now.ms = 60_000
    for (let i = 0; i < 60; i++) await requestBalanced(upstream, balancer, route, request)
    expect(tried.filter((url) => url === 'https://a.test').length).toBeGreaterThan(1)
  })

  test('are never repeated once a receiver may have acted [deliver:no-silent-repeat]', async () => {
    const balancer = createBalancer(systemRandom, () => 0)
    const down = new Set(endpoints.map(({ url }) => url))
    const { upstream, tried } = upstreamWith(down, false)
    const answered = await requestBalanced(upstream, balancer, route, request)
    expect(answered).toMatchObject({ code: 'RECEIVER_UNREACHABLE' })
    expect(tried).toHaveLength(1)
  })

  test('end after a bounded number of endpoints that cannot be reached', async () => {
    const balancer = createBalancer(systemRandom, () => 0)
    const down = new Set(endpoints.map(({ url }) => url))
    const { upstream, tried } = upstreamWith(down, true)
    const answered = await requestBalanced(upstream, balancer, route, request)
    expect(answered).toMatchObject({ code: 'RECEIVER_UNREACHABLE' })
    expect(tried).toHaveLength(3)
  })
})
