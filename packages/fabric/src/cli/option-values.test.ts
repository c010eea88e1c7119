import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  collectAttributes,
  collectNames,
  parseAgentUrl,
  parseCount,
  parseHostPort,
  parseName,
  parsePort,
  parseSeconds,
  timeOption,
} from './option-values.ts'

describe('a duration', () => {
  test.each([
    ['90', 90],
    ['90s', 90],
    ['15m', 900],
    ['12h', 43_200],
    ['30d', 2_592_000],
  ])('of %s is %i seconds', (text, seconds) => {
    expect(parseSeconds(text)).toBe(seconds)
  })

  test('as a default is shown as a user would write it', () => {
    const option = timeOption('--ttl <time>', 'how long it is good', {
      byDefault: '90d',
      min: '60s',
      max: '366d',
    })
    expect([option.defaultValue, option.defaultValueDescription]).toEqual([7_776_000, '90d'])
  })

  test.each(['', 'm', '-1', '1.5h', '1w', '1e9', ' 1', '1 m'])('is not %j', (text) => {
    expect(() => parseSeconds(text)).toThrow('duration')
  })
})

test('a port is a whole number that fits', () => {
  expect([parsePort('0'), parsePort('65535')]).toEqual([0, 65_535])
  for (const text of ['65536', '-1', '1e3', '0x50', ''])
    expect(() => parsePort(text)).toThrow('port')
})

test('a count starts at one', () => {
  expect(parseCount('7')).toBe(7)
  for (const text of ['0', '-1', '1.5', '']) expect(() => parseCount(text)).toThrow('whole number')
})

test('names are those of the directory, and lists keep their order', () => {
  expect(collectNames('b', collectNames('a'))).toEqual(['a', 'b'])
  for (const text of ['A', '', 'a b', '../a']) expect(() => parseName(text)).toThrow('name')
})

test('attributes take the type that they look like', () => {
  const given = ['team=payments', 'clearance=3', 'external=true', 'note=a=b', 'version=1.0']
  const attributes = given.reduce((before, text) => collectAttributes(text, before), {})
  expect(attributes).toEqual({
    team: 'payments',
    clearance: 3,
    external: true,
    note: 'a=b',
    version: '1.0',
  })
  expect(() => collectAttributes('=3')).toThrow('name=value')
})

test('an address is what it was written from', () => {
  const host = fc.oneof(
    fc.ipV4(),
    fc.domain(),
    fc.ipV6().map((ip) => `[${ip}]`),
  )
  fc.assert(
    fc.property(host, fc.integer({ min: 0, max: 65_535 }), (name, port) => {
      expect(parseHostPort(`${name}:${port}`)).toEqual({ host: name.replace(/^\[|\]$/g, ''), port })
    }),
  )
  for (const text of ['localhost', ':9000', 'a:b', 'http://a:1', 'a:70000']) {
    expect(() => parseHostPort(text)).toThrow()
  }
})

test('a URL is one of http', () => {
  expect(parseAgentUrl('http://127.0.0.1:9000/mcp')).toBe('http://127.0.0.1:9000/mcp')
  for (const text of ['ftp://a', 'a.example', 'file:///x'])
    expect(() => parseAgentUrl(text)).toThrow()
})
