import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { REFUSALS } from '@countersign/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { verifies } from '../../../../../test/requirements.ts'
import type { Refusal } from '../../lib/refusal.ts'
import type { ReceivedRequest } from '../http/received-request.ts'
import { type PublicOptions, publicRoutes } from './public-router.ts'
import { isKnown, resourceOf, SharedResources } from './shared-resources.ts'

let loads = 0
const page = new TextEncoder().encode('<!doctype html><title>page</title>')
const options = {
  trust: () => Promise.resolve('{"v":2}'),
  trustFingerprint: 'SHA256:x',
  slot: 'a',
  addressOfLog: (slot: string) =>
    Promise.resolve(slot === 'b' ? 'https://replica-b.test:8443' : null),
  findLogResource: (path: string) => {
    loads += 1
    return Promise.resolve(path === 'none' ? null : new TextEncoder().encode(path))
  },
  isPruned: (path: string) => path === 'tile/entries/000',
  findPage: () => {
    loads += 1
    return Promise.resolve(page)
  },
  origin: () => 'https://127.0.0.1',
} as unknown as PublicOptions

const routes = publicRoutes(options)
const listener: RequestListener = (request, response) => {
  const match = routes.find(request.method ?? '', request.url ?? '')
  const read = () => Promise.reject(new Error('no body'))
  void match?.handler.router(request, response, { read, rest: match.rest })
}
const server = createServer(listener)
let origin = ''
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => server.close())

test('a request that fails while it is carried out may have been done: its caller is not asked to repeat it', async () => {
  const refused: unknown[] = []
  const failing = {
    ...options,
    enroll: () => Promise.reject(new Error('the disk is gone')),
    renew: () => Promise.reject(new Error('the disk is gone')),
    refuse: (_: unknown, refusal: Refusal, operation: string) => {
      refused.push([operation, refusal.code, REFUSALS[refusal.code].retry])
      return Promise.resolve({ status: 500, headers: [], body: new Uint8Array(0) })
    },
  } as unknown as PublicOptions
  const received = {
    presented: {},
    body: new TextEncoder().encode('{}'),
  } as unknown as ReceivedRequest
  for (const path of ['v1/enroll', 'v1/renew']) {
    const match = publicRoutes(failing).find('POST', `/${path}`)
    const once = createServer((request, response) => {
      const read = () => Promise.resolve(received)
      void match?.handler.router(request, response, { read, rest: match.rest })
    })
    await new Promise<void>((resolve) => once.listen(0, '127.0.0.1', resolve))
    const { port } = once.address() as AddressInfo
    await (await fetch(`http://127.0.0.1:${port}/${path}`, { method: 'POST' })).arrayBuffer()
    once.close()
  }
  expect(refused).toEqual([
    ['enroll', 'OUTCOME_UNKNOWN', false],
    ['renew', 'OUTCOME_UNKNOWN', false],
  ])
})

describe('public resources', () => {
  test(
    verifies(['serve:browser-headers'], 'a page has the headers that a browser obeys'),
    async () => {
      for (const path of ['/verify', '/console']) {
        const { headers } = await fetch(`${origin}${path}`)
        expect(headers.get('strict-transport-security'), path).toBe('max-age=31536000')
        expect(headers.get('content-security-policy'), path).toContain("default-src 'none'")
        expect(headers.get('x-content-type-options'), path).toBe('nosniff')
        expect(headers.get('x-frame-options'), path).toBe('DENY')
        expect(headers.get('cross-origin-opener-policy'), path).toBe('same-origin')
        expect(headers.get('cross-origin-resource-policy'), path).toBe('same-origin')
        expect(headers.get('referrer-policy'), path).toBe('no-referrer')
        expect(headers.get('permissions-policy'), path).toContain('camera=()')
      }
    },
  )

  test('everything else is for TLS alone as well, except for a name that other programs share', async () => {
    for (const path of ['/', '/v1/trust', '/log/checkpoint', '/log/tile/0/000', '/log/none']) {
      const { headers } = await fetch(`${origin}${path}`, { redirect: 'manual' })
      expect(headers.get('strict-transport-security'), path).toBe('max-age=31536000')
    }
    const port = new URL(origin).port
    const { headers } = await fetch(`http://localhost:${port}/v1/trust`).catch(() =>
      fetch(`${origin}/v1/trust`, { headers: { host: `localhost:${port}` } }),
    )
    if (headers.get('strict-transport-security') !== null) throw new Error('localhost is pinned')
  })

  test('a bundle of pruned entries is gone, and its hashes are not', async () => {
    const gone = await fetch(`${origin}/log/tile/entries/000`)
    expect([gone.status, await gone.text()]).toEqual([410, expect.stringContaining('retention')])
    expect((await fetch(`${origin}/log/tile/0/000`)).status).toBe(200)
    expect((await fetch(`${origin}/log/retention`)).headers.get('cache-control')).toBe('max-age=1')
  })

  test('are loaded once, and not sent again to a client that has them', async () => {
    loads = 0
    for (const path of ['/verify', '/log/tile/0/001']) {
      const before = loads
      const first = await fetch(`${origin}${path}`)
      const etag = first.headers.get('etag') ?? ''
      expect(etag).toMatch(/^"[\w-]{22}"$/)
      await first.arrayBuffer()
      const again = await fetch(`${origin}${path}`, { headers: { 'if-none-match': etag } })
      expect(again.status).toBe(304)
      expect(again.headers.get('etag')).toBe(etag)
      const stale = await fetch(`${origin}${path}`, { headers: { 'if-none-match': '"other"' } })
      expect(stale.status).toBe(200)
      expect(loads - before).toBeLessThanOrEqual(1)
    }
  })
})

describe('shared resources', () => {
  test('one load serves all who ask at once, and a failed one is tried again', async () => {
    const shared = new SharedResources()
    let calls = 0
    const load = (): Promise<Uint8Array> => {
      calls += 1
      if (calls === 1) throw new Error('disk')
      return Promise.resolve(page)
    }
    await expect(shared.find('a', load)).rejects.toThrow('disk')
    const found = await Promise.all(Array.from({ length: 10 }, () => shared.find('a', load)))
    expect(calls).toBe(2)
    expect(new Set(found).size).toBe(1)
  })

  test('never hold more than their bound', async () => {
    const shared = new SharedResources(100)
    for (let at = 0; at < 50; at++) {
      await shared.find(`${at}`, () => Promise.resolve(new Uint8Array(30)))
      expect(shared.bytes).toBeLessThanOrEqual(100)
    }
    await shared.find('large', () => Promise.resolve(new Uint8Array(101)))
    expect(shared.bytes).toBeLessThanOrEqual(100)
  })

  test('a validator is compared weakly, in a list', () => {
    const resource = resourceOf(page)
    expect(isKnown(undefined, resource)).toBe(false)
    expect(isKnown(`"x", W/${resource.etag}`, resource)).toBe(true)
    expect(isKnown('*x', resource)).toBe(false)
  })
})

describe('a resource of a log slot', () => {
  const ask = (path: string) => fetch(`${origin}${path}`, { redirect: 'manual' })

  test('is that of this log under its own slot and without one', async () => {
    for (const path of ['/log/checkpoint', '/log/a/checkpoint']) {
      expect(await (await ask(path)).text(), path).toBe('checkpoint')
    }
    expect(await (await ask('/log/a/tile/0/000')).text()).toBe('tile/0/000')
  })

  test('of another replica is one redirect away, at that replica alone', async () => {
    for (const [path, there] of [
      ['/log/b/checkpoint', '/log/b/checkpoint'],
      ['/log/b/tile/0/000', '/log/b/tile/0/000'],
      ['/log/b//evil.test/x', '/log/b//evil.test/x'],
    ] as const) {
      const answer = await ask(path)
      expect(answer.status, path).toBe(307)
      expect(answer.headers.get('location'), path).toBe(`https://replica-b.test:8443${there}`)
    }
  })

  test('that no process holds is not there', async () => {
    for (const path of ['/log/c/checkpoint', '/log/zz']) {
      expect((await ask(path)).status, path).toBe(404)
    }
  })
})
