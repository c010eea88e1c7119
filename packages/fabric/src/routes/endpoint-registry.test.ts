import { describe, expect, test } from 'vitest'
import { createEndpointRegistry, instancesPerAgentMax } from './endpoint-registry.ts'

function openRegistry() {
  const time = { now: 0 }
  const clock = { now: () => time.now, monotonic: () => time.now }
  const registry = createEndpointRegistry('a.test', clock)
  let changes = 0
  registry.onChange(() => {
    changes += 1
  })
  const say = (instance: string, url: string | null, expiresAt = 100) =>
    registry.register(
      'billing',
      instance,
      url === null ? [] : [{ name: 'billing', url, protocol: 'http', connector: true, expiresAt }],
    )
  const urls = () => (registry.find('billing')?.endpoints ?? []).map(({ url }) => url).toSorted()
  return { registry, time, say, urls, changes: () => changes }
}

describe('registrations of one agent', () => {
  test('by two instances coexist, and each takes back only its own', () => {
    const { say, urls } = openRegistry()
    say('one', 'https://a.test')
    say('two', 'https://b.test')
    expect(urls()).toEqual(['https://a.test', 'https://b.test'])
    say('one', null)
    expect(urls()).toEqual(['https://b.test'])
  })

  test('that are renewed in any order change nothing for those who follow', () => {
    const { say, changes } = openRegistry()
    say('one', 'https://a.test')
    say('two', 'https://b.test')
    const before = changes()
    say('one', 'https://a.test', 200)
    say('two', 'https://b.test', 200)
    expect(changes()).toBe(before)
  })

  test('end unless they are renewed', () => {
    const { say, urls, time } = openRegistry()
    say('one', 'https://a.test')
    time.now = 100
    expect(urls()).toEqual([])
  })

  test('are bounded, and the one renewed longest ago goes first', () => {
    const { say, urls } = openRegistry()
    for (let i = 0; i <= instancesPerAgentMax; i++) say(`${i}`, `https://i${i}.test`)
    expect(urls()).toHaveLength(instancesPerAgentMax)
    expect(urls()).not.toContain('https://i0.test')
  })

  test('that speak several protocols are reached in one, regardless of the last renewal', () => {
    const { registry } = openRegistry()
    const say = (instance: string, protocol: 'mcp' | 'a2a') =>
      registry.register('billing', instance, [
        { name: 'billing', url: `https://${instance}`, protocol, connector: true, expiresAt: 9 },
      ])
    say('one.test', 'mcp')
    say('two.test', 'a2a')
    say('three.test', 'a2a')
    say('two.test', 'a2a')
    const { protocol, endpoints } = registry.find('billing') ?? {}
    expect(protocol).toBe('a2a')
    expect(endpoints?.map(({ url }) => url)).toEqual(['https://three.test', 'https://two.test'])
  })

  test('prove the name by certificate, whatever address they give', () => {
    const { say, registry } = openRegistry()
    say('one', 'https://a.test')
    expect(registry.find('billing')?.endpoints[0]?.spiffeId).toBe('spiffe://a.test/agent/billing')
  })
})
