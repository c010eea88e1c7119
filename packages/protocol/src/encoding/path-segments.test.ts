import { expect, test } from 'vitest'
import { isVoidSegment, readPathSegments } from './path-segments.ts'

test.each([
  ['/v1/tasks/V', ['v1', 'tasks', 'v']],
  ['/v1/tasks./V', ['v1', 'tasks', 'v']],
  ['/v1/tasks%20/V', ['v1', 'tasks', 'v']],
  ['/v1/TASKS;x=1/V', ['v1', 'tasks', 'v']],
  ['/v1/ta%73ks/V', ['v1', 'tasks', 'v']],
  ['/v1/ta%2573ks/V', ['v1', 'tasks', 'v']],
  ['/v1//tasks/./V', ['v1', 'tasks', 'v']],
  ['/v1/x/..;/tasks/V', ['v1', 'tasks', 'v']],
  ['/v1\\tasks/V', ['v1', 'tasks', 'v']],
  ['/v1/task%C5%BF/V', ['v1', 'tasks', 'v']],
])('the words of %s are those of its plain spelling', (path, words) => {
  expect(readPathSegments(path).map(({ word }) => word)).toEqual(words)
})

test.each([
  ['V', 'V', false],
  ['a%20b', 'a b', false],
  ['V.1', 'V.1', false],
  ['V:cancel', 'V:cancel', false],
  ['%C3%A9', 'é', false],
  ['V;x=1', 'V', true],
  ['V.', 'V.', true],
  ['%20V', ' V', true],
  ['V%C2%A0', 'V\u00a0', true],
  ['V%E2%80%8B', 'V\u200b', true],
])('an identifier %s is %j, ambiguous: %s', (segment, text, isAmbiguous) => {
  expect(readPathSegments(`/tasks/${segment}`)[1]).toMatchObject({ text, isAmbiguous })
})

test.each(['', '.', '..', '...', ' ', '. .', ';x', '..;x', '.\u200b.', '\uff0e'])(
  'a segment %j is void',
  (segment) => {
    expect(isVoidSegment(segment)).toBe(true)
  },
)

test.each(['_', '-', '~', 'a.', '..a', '.a'])('a segment %j is not void', (segment) => {
  expect(isVoidSegment(segment)).toBe(false)
})

test('a long path of dots and blanks is one segment', () => {
  const path = `/${'. '.repeat(4096)}x`
  expect(readPathSegments(path)).toHaveLength(1)
})
