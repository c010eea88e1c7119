import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Described, DirectoryHistory, isDescribedAs } from './directory-history.ts'

const record: Described = {
  ...{ name: 'alice', kind: 'agent', roles: ['writer'], segment: 'eu' },
  ...{ attributes: { team: 'a', level: 3 }, status: 'active' },
}

function open(first: readonly Described[] = [record]) {
  const records = new Map(first.map((each) => [each.name, each]))
  let take: (changed: Described) => void = () => undefined
  const clock = { now: 0 }
  const directory = {
    find: (name: string) => records.get(name) ?? null,
    list: () => [...records.values()],
    onChange(listener: (changed: Described) => void) {
      take = listener
      return () => undefined
    },
  }
  const history = new DirectoryHistory(directory, () => clock.now)
  const put = (changed: Described): void => {
    records.set(changed.name, changed)
    take(changed)
  }
  return { history, clock, put }
}

test('the earlier state of a name is found for two minutes after each change', () => {
  const { history, clock, put } = open()
  const [board, none] = [
    { ...record, roles: ['board'] },
    { ...record, roles: [] },
  ]
  put(board)
  clock.now = 60_000
  put(none)
  expect(history.find('alice')).toEqual([none, board, record])
  clock.now = 120_000
  expect(history.find('alice')).toEqual([none, board, record])
  clock.now = 120_001
  expect(history.find('alice')).toEqual([none, board])
  clock.now = 180_001
  expect(history.find('alice')).toEqual([none])
})

test('that a name was not there, or cut off, is found as well', () => {
  const { history, put } = open([])
  expect(history.find('alice')).toEqual([null])
  put(record)
  expect(history.find('alice')).toEqual([record, null])
  const cutOff = { ...record, status: 'quarantined' }
  put(cutOff)
  expect(history.find('alice')).toEqual([cutOff, record, null])
})

test('a change that no decision is about is not kept, and neither are more than eight others', () => {
  const { history, put } = open()
  for (let i = 0; i < 5; i += 1) put({ ...record, attributes: { level: 3, team: 'a' } })
  expect(history.find('alice')).toHaveLength(1)
  for (let i = 0; i < 20; i += 1) put({ ...record, roles: [`role-${i}`] })
  expect(history.find('alice').map((each) => each?.roles[0])).toEqual(
    Array.from({ length: 9 }, (_, i) => `role-${19 - i}`),
  )
})

test('two are described alike exactly when policy sees no difference', () => {
  const description = fc.record({
    roles: fc.array(fc.constantFrom('a', 'b'), { maxLength: 2 }),
    segment: fc.constantFrom('', 'eu'),
    attributes: fc.dictionary(
      fc.constantFrom('a', '__proto__', 'toString'),
      fc.constantFrom<(string | number | boolean)[]>('1', 1, true),
    ),
  })
  fc.assert(
    fc.property(description, description, (a, b) => {
      const sorted = ({ attributes }: typeof a) =>
        JSON.stringify(Object.entries(attributes).toSorted(([x], [y]) => (x < y ? -1 : 1)))
      const isSame =
        JSON.stringify([a.roles, a.segment]) === JSON.stringify([b.roles, b.segment]) &&
        sorted(a) === sorted(b)
      expect(isDescribedAs(a, b)).toBe(isSame)
    }),
  )
})
