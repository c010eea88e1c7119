import {
  formatLimit,
  type Limit,
  limitShares,
  parseLimit,
  parseLimitText,
} from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { configSchema } from '../packages/fabric/src/config/schema.ts'
import { files, read } from './tidy/source.ts'

const table = [...read('docs/operate/limits.md').matchAll(/^\| (.+) \|$/gm)]
  .map(([, row = '']) => row.split(' | '))
  .filter(([name = '']) => name.startsWith('`'))

const names = table.map(([name = '']) => name.slice(1, -1))

/** Reports whether the configuration has a value at the path that a name states. */
function hasSetting(name: string): boolean {
  let value: unknown = configSchema.parse({})
  for (const key of name.split('.')) value = Object(value)[key]
  return value !== undefined
}

/** Each limit is written as one object: its name, then its value. */
function limitsOf(text: string): readonly string[] {
  return [...text.matchAll(/\bname: '([a-z]+\.\w+)',\s*value\b/g)].map(([, name = '']) => name)
}

const sources = files.filter((file) => /^packages\/\w+\/src\/.*(?<!\.test)\.ts$/.test(file))

describe('the table of limits', () => {
  test('each row has five cells and a name of its own', () => {
    expect(table.filter((row) => row.length !== 5)).toEqual([])
    expect(names).toEqual([...new Set(names)])
  })

  test('has every limit that a file can set, with its key', () => {
    const keys = Object.keys(configSchema.parse({}).limits).map((key) => `limits.${key}`)
    expect(keys.length).toBeGreaterThan(0)
    expect(keys.filter((key) => !names.includes(key))).toEqual([])
    const settable = table.filter(([name = '', , , , setting = '']) => setting.startsWith(name))
    const set = settable.map(([name = '']) => name.slice(1, -1))
    expect(set.filter((name) => name.startsWith('limits.')).toSorted()).toEqual(keys.toSorted())
    const elsewhere = set.filter((name) => !name.startsWith('limits.'))
    expect(elsewhere.filter((name) => !hasSetting(name))).toEqual([])
  })

  test('has every limit that a refusal can name', () => {
    const used = sources.flatMap((file) => limitsOf(read(file)).map((name) => ({ file, name })))
    expect(used.length).toBeGreaterThan(10)
    expect(used.filter(({ name }) => !names.includes(name))).toEqual([])
  })

  test('each of them survives as the text of a refusal, as does the share of one client', () => {
    const all = fc.record({
      name: fc
        .constantFrom(...names.flatMap((name) => name.split('`, `')))
        .map((name) => name as Limit['name']),
      value: fc.maxSafeNat(),
      unit: fc.constantFrom<Limit['unit']>('bytes', 'ms', 'count', 'per-minute'),
    })
    const shares = fc.constantFrom({}, ...limitShares.map((per) => ({ per })))
    fc.assert(
      fc.property(all, shares, (limit, share) => {
        const text = formatLimit({ ...limit, ...share })
        expect(parseLimit(text)).toEqual({ ...limit, ...share })
        expect(parseLimitText(text)).toBe(text)
      }),
      { numRuns: 2000 },
    )
  })

  test('is read from the code as the code is written', () => {
    expect(limitsOf(`overLimit('X', { name: 'limits.none', value: 1, unit: 'count' })`)).toEqual([
      'limits.none',
    ])
  })
})
