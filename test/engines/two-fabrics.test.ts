import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { deadline } from '../harness/deadline.ts'
import { findPostgres, type PostgresServer, startPostgres } from '../harness/postgres.ts'
import { findRedis, REDIS_ENGINES, type RedisServer, startRedis } from '../harness/redis.ts'

const redisEngine = REDIS_ENGINES.find((engine) => findRedis(engine) !== null) ?? null
const isMissing = findPostgres() === null || redisEngine === null
const program = resolve(import.meta.dirname, '../../packages/fabric/src/main.ts')

describe.skipIf(isMissing)('two fabrics on one PostgreSQL', () => {
  let server: PostgresServer
  let counters: RedisServer
  let dir = ''
  const running: ChildProcess[] = []

  /** With the configuration that both have, on a data folder of its own. */
  const start = (data: string, ...words: readonly string[]) => {
    const options = ['--config', join(dir, 'countersign.yaml'), '--data', join(dir, data)]
    const child = spawn(
      process.execPath,
      ['--conditions=countersign-source', program, ...words, ...options],
      {
        cwd: dir,
        env: {
          ...{ PATH: process.env['PATH'], HOME: dir, NO_COLOR: '1' },
          COUNTERSIGN_MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
          COUNTERSIGN_STATE_PASSWORD: server.password,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    }
    return { child, output: () => output }
  }
  const command = async (data: string, ...words: readonly string[]): Promise<string> => {
    const { child, output } = start(data, ...words)
    const exit = await new Promise((done) => child.once('close', done))
    return `${String(exit)} ${output()}`
  }
  const up = async (data: string): Promise<void> => {
    const { child, output } = start(data, 'up', '--port', '0', '--json')
    running.push(child)
    await vi.waitFor(() => expect(output()).toContain('"event":"ready"'), deadline)
  }

  beforeAll(async () => {
    server = await startPostgres()
    counters = await startRedis(redisEngine ?? 'redis')
    dir = mkdtempSync(join(tmpdir(), 'countersign-fabrics-'))
    writeFileSync(
      join(dir, 'countersign.yaml'),
      `replica: true
masterKey: { from: environment }
observe: { enabled: false }
engines:
  state: { engine: postgresql, url: '${server.url()}' }
  counters: { engine: redis, url: 'redis://127.0.0.1:${counters.port}' }
`,
    )
    // In this order, so that the names of their slots are known.
    for (const data of ['one', 'two']) await up(data)
  })
  afterAll(async () => {
    for (const child of running) {
      const ended = new Promise((done) => child.once('close', done))
      child.kill('SIGTERM')
      await ended
    }
    await server.close()
    await counters.close()
    rmSync(dir, { recursive: true })
  })

  test('have one directory, one authority, and a log slot and an operator each', async () => {
    expect(await command('one', 'agent', 'invite', 'alice')).toMatch(/^0 /)
    const listed = await command('two', 'agent', 'list')
    expect(listed).toContain('local-operator-b')
    expect(listed).toMatch(/\boperator\b/)
    const slots = await server.query('SELECT name FROM countersign.lease ORDER BY name')
    expect(slots).toEqual([{ name: 'a' }, { name: 'b' }])
    const [roots] = await server.query(
      `SELECT count(*)::int AS count FROM countersign.secret WHERE name LIKE '%ca/root/%'`,
    )
    expect(roots).toEqual({ count: 2 })
  })

  test('know at once what the other decided of an agent', async () => {
    expect(await command('one', 'agent', 'quarantine', 'local-operator-b')).toMatch(/^0 /)
    expect(await command('two', 'agent', 'list')).toContain('AGENT_QUARANTINED')
    expect(await command('one', 'agent', 'restore', 'local-operator-b')).toMatch(/^0 /)
    expect(await command('two', 'agent', 'list')).toMatch(/^0 /)
  })

  test('serve channels in one of them, and the other one refuses', async () => {
    expect(await command('one', 'channel', 'list')).toMatch(/^0 /)
    expect(await command('two', 'channel', 'list')).toContain('RECEIVER_UNREACHABLE')
  })
})
