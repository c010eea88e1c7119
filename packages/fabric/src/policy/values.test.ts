import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CedarRecord, CedarSet, EntityValue, equalValues, type Value } from './values.ts'

const { value } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Value>(
      true,
      1,
      '1',
      2n ** 60n,
      new EntityValue('A', 'b'),
      new EntityValue('Ab', ''),
    ),
    fc.array(tie('value'), { maxLength: 3 }).map((items) => new CedarSet(items)),
    fc
      .array(fc.tuple(fc.constantFrom('a', '__proto__'), tie('value')), { maxLength: 2 })
      .map((fields) => new CedarRecord(new Map(fields))),
    fc.constantFrom<Value>(
      { extension: 'datetime', ms: 1 },
      { extension: 'duration', ms: 1 },
      { extension: 'decimal', scaled: 1 },
      { extension: 'ipaddr', bits: 32, address: 1n, prefix: 32 },
      { extension: 'ipaddr', bits: 128, address: 1n, prefix: 32 },
    ),
  ),
}))

/** A text that two values share exactly when they are equal. */
function spell(of: Value): string {
  if (of instanceof CedarSet) return `{${[...new Set(of.items.map(spell))].toSorted().join()}}`
  if (of instanceof CedarRecord) {
    return `<${[...of.fields]
      .map(([name, field]) => `${name}:${spell(field)}`)
      .toSorted()
      .join()}>`
  }
  if (of instanceof EntityValue) return `${of.type}::${of.id}`
  if (typeof of !== 'object') return `${typeof of} ${of}`
  return JSON.stringify(of, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part))
}

describe('equality', () => {
  test('two values are equal exactly when they are spelled alike', () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(equalValues(a, b)).toBe(spell(a) === spell(b))
        expect(equalValues(a, a)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('a set holds a value exactly when one of its elements equals it, and each once', () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 6 }), value, (elements, other) => {
        const set = new CedarSet(elements)
        expect(set.has(other)).toBe(elements.some((element) => equalValues(element, other)))
        expect(set.items).toHaveLength(new Set(elements.map(spell)).size)
      }),
      { numRuns: 2000 },
    )
  })

  test('sets of different size differ in both directions, and repeats do not count', () => {
    const [none, one, two] = [
      new CedarSet([]),
      new CedarSet([1]),
      new CedarSet([1, new CedarSet([])]),
    ]
    expect([equalValues(none, one), equalValues(one, none)]).toEqual([false, false])
    expect([equalValues(one, two), equalValues(two, one)]).toEqual([false, false])
    expect(equalValues(new CedarSet([none, new CedarSet([])]), new CedarSet([none]))).toBe(true)
  })
})
