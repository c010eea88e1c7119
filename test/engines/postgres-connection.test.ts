import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openSession } from '../../packages/fabric/src/adapters/postgresql/session.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'
import { openTcpProxy } from '../harness/tcp-proxy.ts'
import { openTlsAuthority } from '../harness/tls-authority.ts'

const isMissing = findPostgres() === null

describe.skipIf(isMissing)('a connection to PostgreSQL', () => {
  let secured: PostgresServer
  let plain: PostgresServer
  beforeAll(async () => {
    secured = await startPostgres({ tls: true })
    plain = await startPostgres()
  })
  afterAll(async () => {
    await plain.close()
    await secured.close()
  })

  const closers: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  })

  test.each(['localhost', '127.0.0.1'])('by TLS verifies the certificate of %s', async (host) => {
    const session = await openSession(targetOf(secured, { host }))
    const sql = 'SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()'
    expect((await session.query(sql)).rows).toEqual([{ ssl: true, version: 'TLSv1.3' }])
    session.destroy()
  })

  test('is refused where the certificate has another name', async () => {
    const proxy = await openTcpProxy(secured.port, '127.0.0.2')
    closers.push(() => proxy.close())
    const target = targetOf(secured, { host: '127.0.0.2', port: proxy.port })
    await expect(openSession(target)).rejects.toThrow("IP: 127.0.0.2 is not in the cert's list")
  })

  test.each([
    ['another authority', async () => (await openTlsAuthority()).caPem],
    ['the authorities of the system', async () => null],
  ])('is refused where %s would have to vouch for the server', async (_, caOf) => {
    const target = { ...targetOf(secured), tls: { ca: await caOf() } }
    await expect(openSession(target)).rejects.toThrow('certificate')
  })

  test('never goes on without TLS where the server has none', async () => {
    const target = { ...targetOf(plain), tls: { ca: secured.caPem } }
    await expect(openSession(target)).rejects.toThrow('does not support SSL')
  })

  test('with a wrong password is refused, and no error contains it', async () => {
    const password = 'a-wrong-password'
    const refused = openSession({ ...targetOf(secured), password: async () => password })
    const error: unknown = await refused.catch((cause: unknown) => cause)
    expect(String(error)).toMatch(/cannot be used: password authentication failed/)
    expect(JSON.stringify([error, String(error), (error as Error).cause])).not.toContain(password)
  })

  test('to a server that may lose what it confirmed is refused', async () => {
    await plain.query('ALTER SYSTEM SET fsync = off')
    await plain.query('SELECT pg_reload_conf()')
    const attempt = () => openSession(targetOf(plain)).then((session) => session.destroy(), String)
    await expect.poll(attempt).toMatch('its fsync is off')
  })
})
