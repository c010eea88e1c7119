import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { PolicyHistory } from './policy-history.ts'
import type { CompiledPolicySet } from './policy-set.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function setOf(version: string, characters = 10): CompiledPolicySet {
  const decide = () => {
    throw new Error('nobody asks')
  }
  const sources = [{ name: 'a.cedar', text: ' '.repeat(characters) }]
  return { version, policies: [], sources, warnings: [], decide }
}

function open(first: CompiledPolicySet) {
  let now = 0
  let listener: (set: CompiledPolicySet) => void = () => undefined
  const deps = {
    current: first,
    onChange(each: (set: CompiledPolicySet) => void) {
      listener = each
      return () => undefined
    },
  }
  const history = new PolicyHistory(deps, () => now)
  return {
    history,
    change(set: CompiledPolicySet) {
      deps.current = set
      listener(set)
    },
    pass(ms: number) {
      now += ms
      vi.advanceTimersByTime(ms)
    },
  }
}

test('a superseded set is found for two minutes, and given back then even without a request', () => {
  const { history, change, pass } = open(setOf('one'))
  change(setOf('two'))
  pass(60_000)
  change(setOf('three'))
  expect(history.find('one')?.version).toBe('one')
  pass(60_001)
  expect(history.kept).toBe(1)
  expect(history.find('one')).toBeNull()
  expect(history.find('two')?.version).toBe('two')
  pass(60_000)
  expect(history.kept).toBe(0)
  expect(history.find('three')?.version).toBe('three')
})

test('the history is bounded by the text of the sets, the last one excepted', () => {
  const large = 3 * 1024 * 1024
  const { history, change } = open(setOf('one', large))
  change(setOf('two', large))
  expect(history.kept).toBe(1)
  change(setOf('three', 2 * large))
  expect(history.find('one')).toBeNull()
  expect(history.find('two')?.version).toBe('two')
  change(setOf('four'))
  expect(history.find('two')).toBeNull()
  expect(history.find('three')?.version).toBe('three')
})
