import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isInside } from '../lib/named-path.ts'
import { ConfigError, parseConfig } from './config.ts'

const environment = {
  configPath: null,
  dataDir: null,
  masterKey: null,
  userConfigDir: '/etc/of-the-user',
  supervisor: { notifySocket: null, watchdogMs: null },
  colours: false,
}

const read = (text: string) => parseConfig({ path: 'countersign.yaml', text }, environment)

describe('the master key', () => {
  test('is a key file, whose place alone may be named', () => {
    const named = { from: 'key-file', path: resolve('/srv/keys/master.key') }
    expect(read('masterKey: { path: /srv/keys/master.key }').masterKey).toEqual(named)
    expect(read('masterKey: { from: key-file, path: /srv/keys/master.key }').masterKey).toEqual(
      named,
    )
    expect(read('masterKey: { from: key-file }').masterKey.from).toBe('key-file')
    expect(read('').masterKey.from).toBe('key-file')
  })

  test.each([
    ['masterKey: { from: passphrase-file }', 'masterKey.path'],
    ['masterKey: { from: environment, path: /srv/keys/master.key }', '"path"'],
    ['masterKey: { from: vault }', 'masterKey'],
    ['masterKey: { from: vault }', '`key-file`, `passphrase-file`, `environment` or `keyring`'],
    ['masterKey: key-file', '`key-file`, `passphrase-file`, `environment` or `keyring`'],
    ['masterKey: { file: /srv/keys/master.key }', '"file"'],
  ])('refuses %s, and names %s', (text, named) => {
    expect(() => read(text)).toThrow(ConfigError)
    expect(() => read(text)).toThrow(named)
  })
})

describe('the engine of counters', () => {
  const named = (url: string, more = '') =>
    read(`engines: { counters: { engine: redis, url: '${url}'${more} } }`).engines.counters

  test('is memory unless Redis is named, over TLS unless it is on this machine', () => {
    expect(read('').engines.counters).toEqual({ engine: 'memory' })
    expect(named('rediss://a%40b@redis.example', ', passwordFile: /srv/word, ca: /ca')).toEqual({
      ...{ engine: 'redis', host: 'redis.example', port: 6379, database: 0, user: 'a@b' },
      ...{ tls: true, ca: resolve('/ca'), prefix: 'countersign:countersign.local' },
      password: { from: 'file', path: resolve('/srv/word') },
    })
    expect(named('redis://[::1]:6/3', ', prefix: other')).toMatchObject({
      ...{ host: '::1', port: 6, database: 3, user: null, prefix: 'other', tls: false },
      password: { from: 'nowhere' },
    })
  })

  test.each([
    ['{ engine: redis }', 'engines.counters.url'],
    ["{ engine: redis, url: 'https://h' }", 'starts with rediss://'],
    ["{ engine: redis, url: 'rediss://u:secret@h' }", 'passwordFile'],
    ["{ engine: redis, url: 'redis://h' }", 'use rediss://'],
    ["{ engine: redis, url: 'rediss://h/0?tls=no' }", 'the number of a database'],
    ["{ engine: redis, url: 'rediss://h/name' }", 'the number of a database'],
    ["{ engine: redis, url: 'rediss://h', prefix: 'a b' }", 'engines.counters.prefix'],
    ['{ engine: memcached }', '{ engine: memory }'],
    ["{ engine: memory, url: 'rediss://h' }", '"url"'],
  ])('refuses %s, and names %s', (counters, says) => {
    const text = `engines: { counters: ${counters} }`
    expect(() => read(text)).toThrow(ConfigError)
    expect(() => read(text)).toThrow(says)
    expect(() => read(text)).not.toThrow('secret')
  })
})

describe('the engine of the state', () => {
  const named = (url: string, more = '') =>
    read(`engines: { state: { engine: postgresql, url: '${url}'${more} } }`).engines.state

  test('is SQLite unless PostgreSQL is named, over TLS unless it is on this machine', () => {
    expect(read('').engines.state).toEqual({ engine: 'sqlite' })
    expect(named('postgresql://a%40b@db.example/fabric', ', passwordFile: /srv/word')).toEqual({
      ...{ engine: 'postgresql', host: 'db.example', port: 5432, database: 'fabric', user: 'a@b' },
      ...{ schema: 'countersign', tls: true, ca: null },
      password: { from: 'file', path: resolve('/srv/word') },
    })
    expect(named('postgres://u@[::1]:6/d', ', schema: other')).toMatchObject({
      ...{ host: '::1', port: 6, schema: 'other', tls: false, password: { from: 'nowhere' } },
    })
    expect(named('postgres://u@localhost/d', ', tls: true')).toMatchObject({ tls: true })
  })

  test.each([
    ['{ engine: postgresql }', 'engines.state.url'],
    ["{ engine: postgresql, url: 'https://u@h/d' }", 'starts with postgresql://'],
    ["{ engine: postgresql, url: 'postgresql://u:secret@h/d' }", 'passwordFile'],
    ["{ engine: postgresql, url: 'postgresql://u@h/d?sslmode=disable' }", 'user@host/database'],
    ["{ engine: postgresql, url: 'postgresql://h/d' }", 'user@host/database'],
    ["{ engine: postgresql, url: 'postgresql://u@h/d', tls: false }", 'in the clear'],
    ["{ engine: postgresql, url: 'postgresql://u@h/d', schema: 'x; --' }", 'engines.state.schema'],
    ['{ engine: oracle }', '{ engine: sqlite }'],
    ["{ engine: sqlite, url: 'postgresql://u@h/d' }", '"url"'],
  ])('refuses %s, and names %s', (state, says) => {
    const text = `engines: { state: ${state} }`
    expect(() => read(text)).toThrow(ConfigError)
    expect(() => read(text)).toThrow(says)
    expect(() => read(text)).not.toThrow('secret')
  })
})

describe('names of agents', () => {
  test.each(['fabric', 'gateway', 'unknown'])('refuses %s, which entries use otherwise', (name) => {
    expect(() => read(`agents: { ${name}: { upstream: 'http://127.0.0.1:9000' } }`)).toThrow(
      /reserved/,
    )
  })
})

describe('a name that cannot be one', () => {
  test.each(['Billing', 'a b', '-a', 'a-', 'ä', 'a'.repeat(64)])(
    '%s is refused with the characters that names may hold',
    (name) => {
      const text = `agents: { ${JSON.stringify(name)}: { upstream: 'http://127.0.0.1:9000' } }`
      expect(() => read(text)).toThrow(/lower-case letters.*63 characters/)
      expect(() => read(text)).not.toThrow(/reserved/)
    },
  )
})

describe('an address that cannot be one', () => {
  test.each([
    ['listen: { publicUrl: nonsense }', 'listen.publicUrl: a URL that starts with https://'],
    [
      'listen: { publicUrl: "http://a.example" }',
      'listen.publicUrl: a URL that starts with https://',
    ],
    ['agents: { a: { upstream: nonsense } }', 'agents.a.upstream: a URL that starts with http://'],
    ['agents: { a: { upstream: "localhost:9000" } }', 'agents.a.upstream: a URL that starts with'],
    ['agents: { a: { upstream: "http://10.0.0.1" } }', 'agents.a.upstream: plain http leaves'],
  ])('%s is reported once', (text, says) => {
    expect(() => read(text)).toThrow(ConfigError)
    expect(() => read(text)).toThrow(says)
    expect(() => read(text)).not.toThrow(/\n.*\n/)
  })
})

describe('a key or value that was misspelt', () => {
  test.each([
    ['dataDirr: x', '`dataDir`'],
    ['listen: { prot: 1 }', '`port`'],
    ['limits: { bodybytes: 1024 }', '`bodyBytes`'],
    ['masterKey: { pth: x }', '`path`'],
    ['agents: { a: { upstreem: x, upstream: "http://127.0.0.1:9" } }', '`upstream`'],
    ['port: 1', '`listen.port`'],
    ['log: { level: infos }', '`info`'],
    ['agents: { a: { upstream: "http://127.0.0.1:9", protocol: mpc } }', '`mcp`'],
  ])('%s is asked whether %s was meant', (text, meant) => {
    expect(() => read(text)).toThrow(`did you mean ${meant}?`)
  })

  test('a key of another source of the master key is not suggested for itself', () => {
    expect(() => read('masterKey: { from: environment, path: x }')).toThrow(/"path"$/)
  })

  test('that resembles none gets no suggestion', () => {
    expect(() => read('entirelySomethingElse: 1')).toThrow(/"entirelySomethingElse"$/)
  })
})

test('the documented unit keeps the master key outside of the data folder, whatever the home is', () => {
  const root = resolve(import.meta.dirname, '../../../..')
  const unit = readFileSync(resolve(root, 'docs/examples/countersign.service'), 'utf8')
  const guide = readFileSync(resolve(root, 'docs/operate/install.md'), 'utf8')
  const settings = (text: string, name: string): readonly string[] =>
    [...text.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value)
  for (const text of [unit, guide]) {
    const variables = new Map(
      settings(text, 'Environment').map((each) => each.split('=', 2) as [string, string]),
    )
    const dataDir = variables.get('COUNTERSIGN_DATA') ?? ''
    const userConfigDir = variables.get('XDG_CONFIG_HOME') ?? dataDir
    const { masterKey } = parseConfig(null, { ...environment, dataDir, userConfigDir })
    const path = masterKey.from === 'key-file' ? masterKey.path : ''
    expect(isInside(path, dataDir)).toBe(false)
    // Made by systemd for the user of the unit, so that the first start can write both.
    const made = settings(text, 'StateDirectory').flatMap((line) =>
      line.split(' ').map((name) => `/var/lib/${name}`),
    )
    expect(made).toContain(dataDir)
    expect(made.some((folder) => isInside(path, folder))).toBe(true)
  }
})
