import { parseRouteSettings } from '@countersign/protocol'
import { expect, test, vi } from 'vitest'
import { openState } from '../../../../test/contracts/identity-lab.ts'
import { deadline } from '../../../../test/harness/deadline.ts'
import { memoryStateStore, StateMemory } from '../adapters/memory/state-store.ts'
import type { StateStore } from '../state/state-store.ts'
import { createEndpointRegistry } from './endpoint-registry.ts'
import { createStoredRoutes } from './stored-routes.ts'

const url = 'http://127.0.0.1:9/'
const configuredUrl = 'http://127.0.0.1:10/'

/** One process on `memory`, which has configured the names in `configured`. */
async function openProcess(
  memory: StateMemory,
  configured: readonly string[] = [],
  store: StateStore = memoryStateStore(memory),
) {
  const registry = createEndpointRegistry('a.test', { now: () => 0, monotonic: () => 0 })
  for (const name of configured) {
    const endpoints = [{ url: configuredUrl, spiffeId: null }]
    registry.configure(name, { name, protocol: 'http', endpoints })
  }
  return { registry, routes: createStoredRoutes(await openState(store), registry) }
}

test('a route that an operator made is there after a restart, and gone once it is removed', async () => {
  const memory = new StateMemory()
  await (await openProcess(memory)).routes.put('echo', url, { protocol: 'mcp' })
  const { routes, registry } = await openProcess(memory)
  expect(registry.find('echo')).toMatchObject({ protocol: 'mcp', endpoints: [{ url }] })
  const listed = { name: 'echo', urls: [url], protocol: 'mcp', source: 'configured' }
  expect(routes.list()).toEqual([{ ...listed, settings: parseRouteSettings({}) }])
  expect(await routes.remove('echo')).toBe(true)
  expect(await routes.remove('echo')).toBe(false)
  expect(registry.find('echo')).toBeNull()
  expect((await openProcess(memory)).routes.list()).toEqual([])
})

test('routes are listed with the settings in force, regardless of where they come from', async () => {
  const ofFile = parseRouteSettings({ timeouts: { tryMs: 900 } })
  const clock = { now: () => 0, monotonic: () => 0 }
  const registry = createEndpointRegistry('a.test', clock, { file: ofFile, live: ofFile })
  const routes = createStoredRoutes(await openState(memoryStateStore(new StateMemory())), registry)
  const settings = { breaker: { failures: 3 } }
  for (const name of ['file', 'own']) await routes.put(name, url, { protocol: 'http', settings })
  const lease = { url, protocol: 'mcp', connector: false, expiresAt: 1 } as const
  registry.register('live', 'one', [{ name: 'live', ...lease }])
  registry.register('bare', 'one', [{ name: 'bare', ...lease }])
  expect(Object.fromEntries(routes.list().map((each) => [each.name, each.settings]))).toEqual({
    ...{ file: ofFile, own: parseRouteSettings(settings) },
    ...{ live: ofFile, bare: parseRouteSettings({}) },
  })
})

test('a route that another process made appears here, and disappears', async () => {
  const memory = new StateMemory()
  const [one, two] = [await openProcess(memory), await openProcess(memory)]
  const changes = vi.fn<() => void>()
  two.registry.onChange(changes)
  await one.routes.put('echo', url, { protocol: 'mcp' })
  await expect.poll(() => two.registry.find('echo'), deadline).toMatchObject({ protocol: 'mcp' })
  expect(changes).toHaveBeenCalledOnce()
  await two.routes.remove('echo')
  await expect.poll(() => one.registry.find('echo'), deadline).toBeNull()
})

test('the configuration wins over a route that was stored before, and not over a later one', async () => {
  const memory = new StateMemory()
  await (await openProcess(memory)).routes.put('echo', url, { protocol: 'mcp' })
  const { routes, registry } = await openProcess(memory, ['echo'])
  expect(registry.find('echo')).toMatchObject({ endpoints: [{ url: configuredUrl }] })
  await routes.put('echo', url, { protocol: 'a2a' })
  expect(registry.find('echo')).toMatchObject({ protocol: 'a2a', endpoints: [{ url }] })
  expect(await routes.remove('echo')).toBe(true)
  expect(registry.find('echo')).toBeNull()
})

test('a configured route is removed until the next start', async () => {
  const memory = new StateMemory()
  const { routes, registry } = await openProcess(memory, ['echo'])
  expect(await routes.remove('echo')).toBe(true)
  expect(registry.find('echo')).toBeNull()
  const again = await openProcess(memory, ['echo'])
  expect(again.registry.find('echo')).not.toBeNull()
})

test('a route that could not be stored has no effect', async () => {
  const memory = new StateMemory()
  const commit = () => Promise.reject(new Error('disk full'))
  const store = { ...memoryStateStore(memory), commit }
  const { routes, registry } = await openProcess(memory, [], store)
  await expect(routes.put('echo', url, { protocol: 'http' })).rejects.toThrow('disk full')
  expect(registry.find('echo')).toBeNull()
})

test('a name that no agent can have is refused before it reaches other processes', async () => {
  const memory = new StateMemory()
  const { routes } = await openProcess(memory)
  await expect(routes.put('fabric', url, { protocol: 'http' })).rejects.toThrow('reserved')
  expect(memory.read().rows).toEqual([])
})

test('the settings of a route are kept with it, and those of the file take precedence', async () => {
  const memory = new StateMemory()
  const settings = { timeouts: { exchangeMs: 700 } }
  await (await openProcess(memory)).routes.put('echo', url, { protocol: 'mcp', settings })
  const { registry } = await openProcess(memory)
  expect(registry.find('echo')?.reliability).toEqual(parseRouteSettings(settings))
  expect(registry.settings()).toEqual({ echo: parseRouteSettings(settings) })
  const ofFile = { echo: parseRouteSettings({ retries: { attempts: 9 } }) }
  const both = createEndpointRegistry('a.test', { now: () => 0, monotonic: () => 0 }, ofFile)
  both.configure('echo', registry.find('echo'))
  expect(both.find('echo')?.reliability).toEqual(ofFile.echo)
})
