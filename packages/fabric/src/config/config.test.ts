import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
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
    ['masterKey: { file: /srv/keys/master.key }', '"file"'],
  ])('refuses %s, and names %s', (text, named) => {
    expect(() => read(text)).toThrow(ConfigError)
    expect(() => read(text)).toThrow(named)
  })
})

describe('names of agents', () => {
  test.each(['fabric', 'gateway', 'unknown'])('refuses %s, which entries use otherwise', (name) => {
    expect(() => read(`agents: { ${name}: { upstream: 'http://127.0.0.1:9000' } }`)).toThrow(
      /reserved/,
    )
  })
})
