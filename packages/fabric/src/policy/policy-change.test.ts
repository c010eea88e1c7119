import { describe, expect, test } from 'vitest'
import { changeBetween } from './policy-change.ts'
import { createPolicySet, type PolicySource } from './policy-set.ts'

const a = { name: 'a.cedar', text: 'old' }
const b = { name: 'b.cedar', text: 'old' }
const setOf = (version: string, ...sources: readonly PolicySource[]) =>
  createPolicySet({ version, sources, policies: [], warnings: [] })
const before = setOf('1', a, b)
const put = { name: 'a.cedar', text: 'new', exchange: 'exc_1' }

describe('a change of the policies', () => {
  test('names the version that takes effect, and the exchange that put the file', () => {
    expect(changeBetween(before, setOf('2', { ...a, text: 'new' }, b), put)).toEqual({
      version: '2',
      files: ['a.cedar'],
      changedBy: ['exc_1'],
    })
  })

  test('is of the files when no exchange put it, also one that was removed or added', () => {
    const c = { name: 'c.cedar', text: 'new' }
    expect(changeBetween(before, setOf('2', a, c), null)).toEqual({
      version: '2',
      files: ['b.cedar', 'c.cedar'],
      changedBy: ['files'],
    })
  })

  test('names both when one reading finds both', () => {
    const after = setOf('2', { ...a, text: 'new' }, { ...b, text: 'new' })
    expect(changeBetween(before, after, put)).toMatchObject({
      files: ['a.cedar', 'b.cedar'],
      changedBy: ['exc_1', 'files'],
    })
  })

  test('of a put that changed nothing names no exchange', () => {
    const after = setOf('2', a, { ...b, text: 'new' })
    expect(changeBetween(before, after, { ...put, text: 'old' }).changedBy).toEqual(['files'])
  })
})
