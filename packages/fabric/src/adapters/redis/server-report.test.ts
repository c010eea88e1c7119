import { describe, expect, test } from 'vitest'
import { loadRedisClient } from './client.ts'
import { readServerReport } from './server-report.ts'

/** The lines of INFO that count, among others, as both servers give them. */
function infoOf(changes: Readonly<Record<string, string>> = {}): string {
  const fields = {
    ...{ redis_version: '7.0.15', redis_mode: 'standalone', run_id: 'a1', loading: '0' },
    ...{ maxmemory_policy: 'noeviction', evicted_keys: '0', role: 'master' },
    ...{ master_replid: 'b2', executable: '/usr/bin/redis:server' },
    ...changes,
  }
  const lines = Object.entries(fields).map(([name, value]) => `${name}:${value}`)
  return `# Server\r\n${lines.join('\r\n')}\r\n\r\n`
}

describe('the report of a server', () => {
  test('a sound server has no fault, and the same state each time', () => {
    const { fault, state } = readServerReport(infoOf())
    expect(fault).toBeNull()
    expect(readServerReport(infoOf({ redis_version: '7.0.16' })).state).toBe(state)
  })

  test.each([
    ['another process', { run_id: 'a2' }],
    ['another history of replication', { master_replid: 'b3' }],
    ['an eviction', { evicted_keys: '1' }],
  ])('%s is another state', (_, changes) => {
    expect(readServerReport(infoOf(changes)).state).not.toBe(readServerReport(infoOf()).state)
  })

  test.each([
    ['a replica', { role: 'slave' }, 'name the primary'],
    ['a cluster', { redis_mode: 'cluster' }, 'cluster mode'],
    ['a server that loads', { loading: '1' }, 'loading'],
    ['a server that evicts', { maxmemory_policy: 'volatile-lru' }, 'set it to noeviction'],
    ['a server without an identity', { run_id: '' }, 'identity'],
  ])('%s has a fault', (_, changes, says) => {
    expect(readServerReport(infoOf(changes)).fault).toContain(says)
  })

  test.each(['', 'PONG', '# Server\r\n', 'role:master\r\n'])('%j is a fault', (info) => {
    expect(readServerReport(info).fault).not.toBeNull()
  })
})

test('a missing client is named, with the command that installs it', async () => {
  const missing = () => Promise.reject(new Error('ERR_MODULE_NOT_FOUND'))
  await expect(loadRedisClient(missing)).rejects.toThrow('npm install @redis/client')
  await expect(loadRedisClient(async () => ({}))).rejects.toThrow('unknown version')
})
