import { expect, test } from 'vitest'
import { createEndpointRegistry } from './endpoint-registry.ts'
import { createStoredRoutes, type RouteState } from './stored-routes.ts'

function openRoutes(rows: Map<string, string>, isFailing = false) {
  const state: RouteState = {
    read: () =>
      Promise.resolve({
        revision: 0,
        rows: [...rows].map(([key, value]) => ({ table: 'routes' as const, key, value })),
      }),
    commit(changes) {
      if (isFailing) return Promise.reject(new Error('disk full'))
      for (const { key, value } of changes) {
        if (value === null) rows.delete(key)
        else rows.set(key, value)
      }
      return Promise.resolve(1)
    },
  }
  const registry = createEndpointRegistry('a.test', { now: () => 0, monotonic: () => 0 })
  return { registry, routes: createStoredRoutes(state, registry) }
}

const url = 'http://127.0.0.1:9/'

test('a route that an operator made is there after a restart, and gone once it is removed', async () => {
  const rows = new Map<string, string>()
  await openRoutes(rows).routes.put('echo', url, 'mcp')
  const { routes, registry } = openRoutes(rows)
  await routes.restore()
  expect(registry.find('echo')).toMatchObject({ protocol: 'mcp', endpoints: [{ url }] })
  const listed = { name: 'echo', urls: [url], protocol: 'mcp', source: 'configured' }
  expect(routes.list()).toEqual([listed])
  expect(await routes.remove('echo')).toBe(true)
  expect(await routes.remove('echo')).toBe(false)
  expect(registry.find('echo')).toBeNull()
  const last = openRoutes(rows)
  await last.routes.restore()
  expect(last.routes.list()).toEqual([])
})

test('the configuration wins over a stored route', async () => {
  const rows = new Map<string, string>()
  await openRoutes(rows).routes.put('echo', url, 'mcp')
  const { routes, registry } = openRoutes(rows)
  const endpoints = [{ url: 'http://127.0.0.1:10/', spiffeId: null }]
  registry.configure('echo', { name: 'echo', protocol: 'http', endpoints })
  await routes.restore()
  expect(registry.find('echo')).toMatchObject({ protocol: 'http', endpoints })
})

test('a route that could not be stored has no effect', async () => {
  const { routes, registry } = openRoutes(new Map(), true)
  await expect(routes.put('echo', url, 'http')).rejects.toThrow('disk full')
  expect(registry.find('echo')).toBeNull()
})
