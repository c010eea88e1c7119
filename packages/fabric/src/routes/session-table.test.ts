import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SessionTable, sessionIdLengthMax } from './session-table.ts'

describe('a table of sessions', () => {
  test('keeps a value for each session of each receiver', () => {
    const table = new SessionTable<string>()
    table.set('shop', 's1', 'a')
    table.set('bank', 's1', 'b')
    table.set('shop', 's2', 'c')
    expect(table.find('shop', 's1')).toBe('a')
    expect(table.find('bank', 's1')).toBe('b')
    expect(table.find('shop', 's2')).toBe('c')
    expect(table.find('bank', 's2')).toBeNull()
    table.set('shop', 's1', 'd')
    expect(table.find('shop', 's1')).toBe('d')
    table.delete('shop', 's1')
    expect(table.find('shop', 's1')).toBeNull()
    expect(table.find('bank', 's1')).toBe('b')
  })

  test('an id with a line break names no session of another receiver', () => {
    const table = new SessionTable<string>()
    table.set('shop', 'x\ny', 'a')
    expect(table.find('shop', 'x\ny')).toBe('a')
    expect(table.find('shop', 'x')).toBeNull()
    expect(table.find('x', 'y')).toBeNull()
  })

  test('forgets the oldest beyond its bound, and reports whatever it forgets once', () => {
    const forgotten: string[] = []
    const table = new SessionTable<number>({ countMax: 2, onForget: (id) => forgotten.push(id) })
    table.set('shop', 's1', 1)
    table.set('shop', 's2', 2)
    table.set('shop', 's1', 3)
    table.set('shop', 's3', 4)
    expect(forgotten).toEqual(['s1'])
    expect(table.find('shop', 's1')).toBeNull()
    expect(table.find('shop', 's2')).toBe(2)
    table.delete('shop', 's2')
    table.delete('shop', 's2')
    table.delete('shop', 'never')
    expect(forgotten).toEqual(['s1', 's2'])
  })

  test('holds no more than its bound, and no id above the length limit', () => {
    const table = new SessionTable<number>()
    table.set('shop', 'x'.repeat(sessionIdLengthMax), 1)
    table.set('shop', 'y'.repeat(sessionIdLengthMax + 1), 2)
    expect(table.find('shop', 'x'.repeat(sessionIdLengthMax))).toBe(1)
    expect(table.find('shop', 'y'.repeat(sessionIdLengthMax + 1))).toBeNull()
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 9 })), (ids) => {
        const live = new Set<string>()
        const small = new SessionTable<number>({ countMax: 3, onForget: (id) => live.delete(id) })
        for (const id of ids) {
          live.add(String(id))
          small.set('shop', String(id), id)
        }
        expect(live.size).toBeLessThanOrEqual(3)
        for (let id = 0; id < 10; id++) {
          expect(small.find('shop', String(id)) !== null).toBe(live.has(String(id)))
        }
      }),
    )
  })
})
