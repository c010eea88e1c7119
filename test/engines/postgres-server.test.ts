import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findPostgres, type PostgresServer, startPostgres } from '../harness/postgres.ts'

const isMissing = findPostgres() === null

describe.skipIf(isMissing)('PostgreSQL for the tests of engines', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await startPostgres({ tls: true })
  })
  afterAll(() => server.close())

  test('answers over TLS', async () => {
    const [row] = await server.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
    expect(row).toEqual({ ssl: true })
  })

  test('keeps its databases apart, and what was committed before it crashed', async () => {
    const [one, two] = [await server.createDatabase(), await server.createDatabase()]
    await server.query('CREATE TABLE kept (value int)', [], one)
    await server.query('INSERT INTO kept VALUES ($1)', [7], one)
    await server.crash()
    expect(await server.query('SELECT value FROM kept', [], one)).toEqual([{ value: 7 }])
    await expect(server.query('SELECT value FROM kept', [], two)).rejects.toThrow('kept')
  })
})
