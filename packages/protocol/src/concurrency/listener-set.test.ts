import { describe, expect, test } from 'vitest'
import { ListenerSet } from './listener-set.ts'

describe('a set of listeners', () => {
  test('calls each in order, until it is removed', () => {
    const [listeners, calls] = [new ListenerSet<number>(), [] as string[]]
    const removeFirst = listeners.add((value) => calls.push(`first ${value}`))
    listeners.add((value) => calls.push(`second ${value}`))
    listeners.notify(1)
    removeFirst()
    removeFirst()
    listeners.notify(2)
    expect(calls).toEqual(['first 1', 'second 1', 'second 2'])
  })

  test('calls a listener once, however often it was added', () => {
    const [listeners, calls] = [new ListenerSet(), [] as string[]]
    const listener = () => void calls.push('called')
    listeners.add(listener)
    listeners.add(listener)()
    listeners.notify()
    expect(calls).toEqual([])
    listeners.add(listener)
    listeners.add(listener)
    listeners.notify()
    expect(calls).toEqual(['called'])
  })

  test('a listener may remove itself, or one that follows, while it is called', () => {
    const [listeners, calls] = [new ListenerSet(), [] as string[]]
    const removeOwn = listeners.add(() => {
      calls.push('first')
      removeOwn()
      removeNext()
    })
    const removeNext = listeners.add(() => calls.push('second'))
    listeners.add(() => calls.push('third'))
    listeners.notify()
    listeners.notify()
    expect(calls).toEqual(['first', 'third', 'third'])
  })

  test('an exception reaches the caller', () => {
    const listeners = new ListenerSet()
    listeners.add(() => {
      throw new Error('broken')
    })
    expect(() => listeners.notify()).toThrow('broken')
  })

  test('clearing removes every listener', () => {
    const [listeners, calls] = [new ListenerSet(), [] as string[]]
    listeners.add(() => calls.push('called'))
    listeners.clear()
    listeners.notify()
    expect(calls).toEqual([])
  })
})
