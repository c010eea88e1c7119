import { parseRouteSettings, type RouteSettings } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { systemRandom } from '../lib/random.ts'
import { EjectedError, UpstreamError } from '../lib/upstream-error.ts'
import { TIMED_OUT } from './attempt.ts'
import { createBalancer } from './balancer.ts'
import { isRepeatable } from './repeatable.ts'
import type { Route } from './routes.ts'
import type { Endpoint, Upstream, UpstreamRequest, UpstreamResponse } from './upstream.ts'

/** A clock whose timers run when it is moved. */
class FakeTime {
  now = 0
  #timers: { readonly at: number; readonly act: () => void }[] = []

  readonly timer = (ms: number, act: () => void): (() => void) => {
    const timer = { at: this.now + ms, act }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer)
    }
  }

  /** The pauses that are waited for, longest last. */
  pending(): readonly number[] {
    return this.#timers.map(({ at }) => at - this.now).toSorted((a, b) => a - b)
  }

  async move(ms: number): Promise<void> {
    this.now += ms
    const due = this.#timers.filter(({ at }) => at <= this.now)
    this.#timers = this.#timers.filter((each) => !due.includes(each))
    for (const { act } of due) act()
    await settled()
  }
}

/** Everything that is ready has run. */
async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}

function routeOf(count: number, settings: RouteSettings): Route {
  const endpoints: Endpoint[] = Array.from({ length: count }, (_, i) => ({
    url: `https://e${i}.test`,
    spiffeId: null,
  }))
  const reliability = parseRouteSettings(settings)
  return { name: 'billing', protocol: 'http', endpoints, reliability }
}

function requestOf(overrides: Partial<UpstreamRequest> = {}): UpstreamRequest {
  return {
    ...{ method: 'POST', path: '/', headers: [], body: new Uint8Array(0) },
    signal: new AbortController().signal,
    account: { take: () => undefined, give: () => undefined },
    owner: 'caller',
    ...overrides,
  }
}

const repeatable = { method: 'PUT', isRepeatable: true }

/** Ends of one attempt. */
const ends = {
  answered: () => Promise.resolve(response(200)),
  unsent: () => Promise.reject(new UpstreamError('down', { progress: 'not-sent', cause: null })),
  reset: () => Promise.reject(new UpstreamError('reset', { progress: 'sent', cause: null })),
  stale: () =>
    Promise.reject(new UpstreamError('closed', { progress: 'sent', stale: true, cause: null })),
  busy: () => Promise.resolve(response(503)),
  limited: () => Promise.resolve(response(429, [['retry-after', '2']])),
} as const
type End = keyof typeof ends

function response(status: number, headers: UpstreamResponse['headers'] = []): UpstreamResponse {
  return { status, headers, body: (async function* () {})(), discard: () => undefined }
}

/** An upstream whose attempts end one after the other as `script` has it, the last one for ever. */
function scripted(script: readonly End[]) {
  const seen: { readonly url: string; readonly end: End }[] = []
  const upstream: Upstream = {
    request({ url }) {
      const end = script[Math.min(seen.length, script.length - 1)] ?? 'answered'
      seen.push({ url, end })
      return ends[end]()
    },
    close: () => Promise.resolve(),
  }
  return { upstream, seen }
}

function open(upstream: Upstream) {
  const time = new FakeTime()
  return {
    time,
    balancer: createBalancer(upstream, systemRandom, () => time.now, { timer: time.timer }),
  }
}

/** Moves the clock until the promise has ended. */
async function ended<T>(time: FakeTime, promise: Promise<T>): Promise<T | Error> {
  let outcome: T | Error | null = null
  promise.then(
    (value) => (outcome = value),
    (cause: unknown) => (outcome = cause as Error),
  )
  for (let i = 0; i < 100 && outcome === null; i++) await time.move(100)
  if (outcome === null) throw new Error('it never ended')
  return outcome
}

const resend = { retries: { resend: true, attempts: 4 } } as const

describe('a request is sent again', () => {
  test('never, once a byte was written and it may not be repeated [deliver:no-silent-repeat]', async () => {
    const attempt = fc.constantFrom<End>(...(Object.keys(ends) as End[]))
    await fc.assert(
      fc.asyncProperty(
        fc.array(attempt, { minLength: 1, maxLength: 12 }),
        fc.constantFrom('POST', 'PATCH', 'PUT', 'DELETE'),
        fc.integer({ min: 1, max: 4 }),
        fc.scheduler(),
        async (script, method, count, scheduler) => {
          const sentBy = new Map<string, End[]>()
          const upstream: Upstream = {
            async request(_, { path }) {
              await scheduler.schedule(Promise.resolve())
              const own = sentBy.get(path) ?? []
              const end = script[(own.length * 3 + path.length) % script.length] ?? 'answered'
              sentBy.set(path, [...own, end])
              return ends[end]()
            },
            close: () => Promise.resolve(),
          }
          const { balancer } = open(upstream)
          // Each of them interleaves with the others over one state of endpoints and budget.
          const all = Array.from({ length: 4 }, (_, i) =>
            balancer
              .request(routeOf(count, resend), requestOf({ method, path: '/'.padEnd(i + 1, 'x') }))
              .catch(() => null),
          )
          await scheduler.waitFor(Promise.all(all))
          for (const own of sentBy.values()) {
            expect(own.slice(0, -1).every((end) => end === 'unsent')).toBe(true)
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  test('as often as the route permits, if it may be repeated, and every copy is counted', async () => {
    const { upstream, seen } = scripted(['reset', 'busy', 'answered'])
    const { time, balancer } = open(upstream)
    const answer = await ended(time, balancer.request(routeOf(1, resend), requestOf(repeatable)))
    expect(answer).toMatchObject({ status: 200, attempts: 3, isSecondCopy: true })
    expect(seen).toHaveLength(3)
    const failing = open(scripted(['reset']).upstream)
    const failed = failing.balancer.request(routeOf(1, resend), requestOf(repeatable))
    expect(await ended(failing.time, failed)).toMatchObject({ progress: 'sent', attempts: 4 })
  })

  test('not at all by a route that has not set it', async () => {
    const { upstream, seen } = scripted(['busy', 'answered'])
    const { balancer } = open(upstream)
    const retries = parseRouteSettings({}).retries
    const isRepeat = isRepeatable(
      { protocol: 'http', operation: 'GET', tool: '', headers: [] },
      retries,
    )
    const answer = await balancer.request(
      routeOf(1, {}),
      requestOf({ method: 'GET', isRepeatable: isRepeat }),
    )
    expect(answer.status).toBe(503)
    expect(seen).toHaveLength(1)
  })

  test('not by a stale connection either, where one copy may leave', async () => {
    for (const isSingle of [false, true]) {
      const { upstream, seen } = scripted(['stale', 'answered'])
      const { time, balancer } = open(upstream)
      const asking = balancer.request(routeOf(1, {}), requestOf({ method: 'GET', isSingle }))
      const end = await ended(time, asking)
      expect(end).toMatchObject(isSingle ? { progress: 'sent' } : { status: 200 })
      expect(seen).toHaveLength(isSingle ? 1 : 2)
    }
  })

  test('after the pause that the receiver asks for, and not if it is too long', async () => {
    const { upstream, seen } = scripted(['limited', 'answered'])
    const { time, balancer } = open(upstream)
    const asking = balancer.request(routeOf(1, resend), requestOf(repeatable))
    await settled()
    await time.move(1_999)
    expect(seen).toHaveLength(1)
    await time.move(1)
    expect(await asking).toMatchObject({ status: 200, attempts: 2 })
    const { upstream: other, seen: once } = scripted(['limited', 'answered'])
    const short = { retries: { ...resend.retries, retryAfterMaxMs: 1_000 } }
    const answer = open(other).balancer.request(routeOf(1, short), requestOf(repeatable))
    expect(await answer).toMatchObject({ status: 429, attempts: 1 })
    expect(once).toHaveLength(1)
  })

  test('elsewhere without that pause, which binds the one endpoint', async () => {
    const { upstream, seen } = scripted(['limited', 'answered'])
    const { time, balancer } = open(upstream)
    const asking = balancer.request(routeOf(2, resend), requestOf(repeatable))
    await settled()
    await time.move(250)
    expect(await asking).toMatchObject({ status: 200, attempts: 2 })
    expect(new Set(seen.map(({ url }) => url)).size).toBe(2)
  })

  test('no more once its caller has left, also while it waits', async () => {
    const { upstream, seen } = scripted(['limited', 'answered'])
    const { balancer } = open(upstream)
    const leaving = new AbortController()
    const asking = balancer.request(
      routeOf(1, resend),
      requestOf({ ...repeatable, signal: leaving.signal }),
    )
    await settled()
    leaving.abort()
    await expect(asking).rejects.toMatchObject({ progress: 'sent' })
    expect(seen).toHaveLength(1)
  })

  test('with headers of its own for each copy', async () => {
    const headers: UpstreamRequest['headers'][] = []
    const upstream: Upstream = {
      request(_, request) {
        headers.push(request.headers)
        return headers.length === 1 ? ends.reset() : ends.answered()
      },
      close: () => Promise.resolve(),
    }
    const { time, balancer } = open(upstream)
    const headersOf = (attempt: number) => [['copy', String(attempt)]] as const
    const asking = balancer.request(routeOf(1, resend), requestOf({ ...repeatable, headersOf }))
    await ended(time, asking)
    expect(headers).toEqual([[['copy', '1']], [['copy', '2']]])
  })
})

describe('the budget of repeats', () => {
  test('holds while every attempt fails', async () => {
    const requests = 100
    let underWay = 0
    let most = 0
    let sent = 0
    const upstream: Upstream = {
      async request(_, { path }) {
        sent += 1
        const isRepeat = seenPaths.has(path)
        seenPaths.add(path)
        if (isRepeat) most = Math.max(most, ++underWay)
        await new Promise<void>((resolve) => time.timer(10, resolve))
        if (isRepeat) underWay -= 1
        return ends.reset()
      },
      close: () => Promise.resolve(),
    }
    const seenPaths = new Set<string>()
    const { time, balancer } = open(upstream)
    const settings = { retries: { ...resend.retries, attempts: 10 }, breaker: { failures: 1_000 } }
    const all = Array.from({ length: requests }, (_, i) =>
      balancer
        .request(routeOf(1, settings), requestOf({ ...repeatable, path: `/${i}` }))
        .catch(() => null),
    )
    for (let i = 0; i < 400; i++) await time.move(10)
    expect(await Promise.all(all)).toHaveLength(requests)
    expect(most).toBeGreaterThan(3)
    expect(most).toBeLessThanOrEqual(20)
    // Without it, there would be ten times as many copies as requests.
    expect(sent).toBeLessThan(requests * 5)
  })

  test('permits some repeats to a route with few requests, and none if it is zero', async () => {
    const none = { retries: { ...resend.retries, budgetMin: 0, budgetPercent: 0 } }
    const { upstream, seen } = scripted(['reset'])
    const { time, balancer } = open(upstream)
    expect(
      await ended(time, balancer.request(routeOf(1, none), requestOf(repeatable))),
    ).toBeInstanceOf(UpstreamError)
    expect(seen).toHaveLength(1)
  })
})

describe('the breaker of an endpoint', () => {
  const settings = { breaker: { failures: 3, ejectMs: 1_000, ejectedPercent: 100 } }

  test('lets another request decide when the first one has no end', async () => {
    let end: End | 'never' = 'reset'
    let failLate: (cause: Error) => void = () => undefined
    const upstream: Upstream = {
      request: () =>
        end === 'never'
          ? new Promise((_resolve, reject) => {
              failLate = reject
            })
          : ends[end](),
      close: () => Promise.resolve(),
    }
    const { time, balancer } = open(upstream)
    const ask = () => balancer.request(routeOf(1, settings), requestOf())
    for (let i = 0; i < 3; i++) await expect(ask()).rejects.toBeInstanceOf(UpstreamError)
    await time.move(1_500)
    end = 'never'
    const held = ask()
    await settled()
    end = 'answered'
    await time.move(900)
    await expect(ask()).rejects.toBeInstanceOf(EjectedError)
    await time.move(200)
    expect(await ask()).toMatchObject({ status: 200 })
    // It began while the endpoint was ejected, and ejects it no second time.
    failLate(new UpstreamError('reset', { progress: 'sent', cause: null }))
    await expect(held).rejects.toBeInstanceOf(UpstreamError)
    expect(await ask()).toMatchObject({ status: 200 })
  })

  describe('with a rate of success', () => {
    const rate = { failures: 1_000, successPercent: 60, minRequests: 10, windowMs: 10_000 }
    const rated = { breaker: { ...rate, ejectMs: 1_000, ejectedPercent: 100 } }
    const script = (...parts: readonly (readonly [count: number, end: End])[]): End[] =>
      parts.flatMap(([count, end]) => Array.from({ length: count }, () => end))

    /** Returns the end of each request, `pauseMs` after the one before. */
    async function run(ends: readonly End[], pauseMs: number, settings: RouteSettings = rated) {
      const { upstream } = scripted(ends)
      const { time, balancer } = open(upstream)
      const outcomes: string[] = []
      const next = async (): Promise<void> => {
        const asking = balancer.request(routeOf(1, settings), requestOf())
        outcomes.push(
          await asking.then(
            () => 'answered',
            (cause: unknown) => (cause instanceof EjectedError ? 'ejected' : 'failed'),
          ),
        )
        await time.move(pauseMs)
      }
      for (const _ of ends) await next()
      return { outcomes, next, time }
    }

    test('opens at a failure, once enough requests were made and too few succeeded', async () => {
      const few = script([4, 'reset'], [5, 'answered'], [1, 'reset'], [1, 'answered'])
      const { outcomes } = await run(few, 10)
      expect(outcomes.slice(-2)).toEqual(['failed', 'ejected'])
      const early = await run(script([4, 'reset'], [4, 'answered'], [1, 'reset']), 10)
      await early.next()
      expect(early.outcomes.at(-1)).toBe('failed')
      const enough = await run(script([4, 'reset'], [6, 'answered']), 10)
      await enough.next()
      expect(enough.outcomes.at(-1)).toBe('answered')
    })

    test('forgets what is older than its window', async () => {
      const { outcomes } = await run(script([9, 'reset'], [1, 'answered'], [9, 'reset']), 1_100)
      expect(outcomes).not.toContain('ejected')
    })

    test('begins anew after an ejection, and is off without a rate', async () => {
      const { outcomes, next, time } = await run(
        script([10, 'reset'], [1, 'answered'], [1, 'reset']),
        10,
      )
      expect(outcomes.slice(-2)).toEqual(['ejected', 'ejected'])
      await time.move(1_500)
      for (let i = 0; i < 3; i++) await next()
      expect(outcomes.slice(-3)).toEqual(['answered', 'failed', 'failed'])
      const off = { breaker: { ...rated.breaker, successPercent: 0 } }
      expect((await run(script([30, 'reset']), 10, off)).outcomes).not.toContain('ejected')
    })
  })

  test('opens after failures in a row, and one request decides if it closes', async () => {
    let end: End = 'reset'
    const held: (() => void)[] = []
    const seen: string[] = []
    const upstream: Upstream = {
      async request({ url }) {
        seen.push(url)
        if (end === 'answered') await new Promise<void>((resolve) => held.push(resolve))
        return ends[end]()
      },
      close: () => Promise.resolve(),
    }
    const { time, balancer } = open(upstream)
    const route = routeOf(1, settings)
    const ask = () => balancer.request(route, requestOf())
    for (let i = 0; i < 3; i++) await expect(ask()).rejects.toBeInstanceOf(UpstreamError)
    await expect(ask()).rejects.toBeInstanceOf(EjectedError)
    expect(seen).toHaveLength(3)
    // The probe fails: it is ejected for longer.
    await time.move(1_500)
    await expect(ask()).rejects.toBeInstanceOf(UpstreamError)
    await time.move(1_500)
    await expect(ask()).rejects.toMatchObject({
      refusal: { code: 'RECEIVER_UNREACHABLE', mayHaveActed: false },
    })
    await time.move(1_500)
    end = 'answered'
    const probe = ask()
    await settled()
    // While one request decides, all others are refused.
    await expect(ask()).rejects.toBeInstanceOf(EjectedError)
    expect(seen).toHaveLength(5)
    held.pop()?.()
    expect(await probe).toMatchObject({ status: 200 })
    const next = ask()
    await settled()
    held.pop()?.()
    expect(await next).toMatchObject({ status: 200 })
  })

  test('is not opened by callers that leave, or that have no time', async () => {
    const upstream: Upstream = {
      request: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          const fail = () => reject(new UpstreamError('aborted', { progress: 'sent', cause: null }))
          signal.addEventListener('abort', fail)
        }),
      close: () => Promise.resolve(),
    }
    const { balancer } = open(upstream)
    const route = routeOf(1, settings)
    for (let i = 0; i < 10; i++) {
      const leaving = new AbortController()
      const asking = balancer.request(route, requestOf({ signal: leaving.signal }))
      leaving.abort(new DOMException('the deadline of the caller has passed', 'AbortError'))
      await expect(asking).rejects.toBeInstanceOf(UpstreamError)
    }
    // A timeout of the route is the endpoint's failure.
    for (let i = 0; i < 3; i++) {
      const late = new AbortController()
      const asking = balancer.request(route, requestOf({ signal: late.signal }))
      late.abort(new DOMException('no answer within the limit', TIMED_OUT))
      await expect(asking).rejects.toBeInstanceOf(UpstreamError)
    }
    await expect(balancer.request(route, requestOf())).rejects.toBeInstanceOf(EjectedError)
  })

  test('leaves as many endpoints as the route requires, whatever fails', async () => {
    const { upstream, seen } = scripted(['busy'])
    const { balancer } = open(upstream)
    const route = routeOf(4, { breaker: { failures: 2, ejectedPercent: 50 } })
    for (let i = 0; i < 100; i++) await balancer.request(route, requestOf())
    expect(seen).toHaveLength(100)
    const last = new Set(seen.slice(-40).map(({ url }) => url))
    expect(last.size).toBe(2)
  })

  test('by default leaves the only endpoint in, so that no caller closes a route for others', async () => {
    const { upstream, seen } = scripted(['reset'])
    const { balancer } = open(upstream)
    for (let i = 0; i < 30; i++) {
      await expect(balancer.request(routeOf(1, {}), requestOf())).rejects.toBeInstanceOf(
        UpstreamError,
      )
    }
    expect(seen).toHaveLength(30)
  })
})

test('an attempt that gives no response in its time is followed by another one', async () => {
  let count = 0
  const upstream: Upstream = {
    request: (_, { signal }) => {
      count += 1
      if (count > 1) return ends.answered()
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () =>
          reject(new UpstreamError('no response', { progress: 'sent', cause: signal.reason })),
        )
      })
    },
    close: () => Promise.resolve(),
  }
  const { time, balancer } = open(upstream)
  const route = routeOf(1, { ...resend, timeouts: { tryMs: 500 } })
  const asking = balancer.request(route, requestOf(repeatable))
  await settled()
  await time.move(499)
  expect(count).toBe(1)
  expect(await ended(time, asking)).toMatchObject({ status: 200, attempts: 2 })
  expect(time.pending()).toEqual([])
})

test('idempotent is what its protocol says, what the operator says, and what has a key', () => {
  const { retries } = parseRouteSettings({
    retries: { resend: true, operations: ['tools/list', 'tools/call search'] },
  })
  const is = (protocol: string, operation: string, tool = '', headers: [string, string][] = []) =>
    isRepeatable({ protocol, operation, tool, headers }, retries)
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) expect(is('http', method)).toBe(true)
  for (const method of ['POST', 'PATCH']) expect(is('http', method)).toBe(false)
  expect(is('a2a', 'GetTask')).toBe(true)
  expect(is('a2a', 'SendMessage')).toBe(false)
  expect(is('mcp', 'tools/list')).toBe(true)
  expect(is('mcp', 'resources/read')).toBe(false)
  expect(is('mcp', 'tools/call', 'search')).toBe(true)
  expect(is('mcp', 'tools/call', 'pay')).toBe(false)
  // A plain request whose method looks like one of the operations is none of them.
  expect(is('http', 'tools/list')).toBe(false)
  const keyed: [string, string][] = [['Idempotency-Key', 'one']]
  expect(is('http', 'POST', '', keyed)).toBe(false)
  const honoured = { ...retries, idempotencyKey: true }
  const post = { protocol: 'http', operation: 'POST', tool: '' }
  expect(isRepeatable({ ...post, headers: keyed }, honoured)).toBe(true)
  expect(isRepeatable({ ...post, headers: [['idempotency-key', '']] }, honoured)).toBe(false)
  expect(isRepeatable({ ...post, headers: keyed }, { ...honoured, resend: false })).toBe(false)
})
