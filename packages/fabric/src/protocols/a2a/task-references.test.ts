import { expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { TaskIds } from './task-ids.ts'
import { tasksOfBody, tasksOfCall, tasksOfPath } from './task-references.ts'

const call = (params: object) => tasksOfCall('tasks/get', { id: 1, params })
const codeOf = (read: unknown) => (read instanceof Refusal ? read.code : null)

test('a call about a task with a longer path in one name than a client writes is refused', () => {
  const path = (words: number) => `${'params.'.repeat(words - 1)}id`
  expect(call({ [path(64)]: '5' })).toMatchObject({ ids: ['task 5'] })
  expect(codeOf(call({ id: '5', [path(65)]: '6' }))).toBe('MESSAGE_MALFORMED')
  expect(codeOf(call({ id: '5', [path(65)]: { a: 'x' } }))).toBe('MESSAGE_MALFORMED')
  expect(codeOf(tasksOfPath('GET', `/tasks/5?${path(65)}=6`, undefined))).toBe('MESSAGE_MALFORMED')
})

test('in the words of an application, such a name is still one about a task', () => {
  expect(tasksOfBody({ [`${'word '.repeat(100)}task`]: 'a' })).toMatchObject({
    mentions: expect.arrayContaining(['task a']),
  })
})

test('an id is found below every name that wraps it, whatever stands in the same list', () => {
  const params = { request: [{ params: [{ id: '5' }, { id: '6', name: '7' }] }] }
  expect(call(params)).toMatchObject({ ids: ['task 5', 'task 6', 'task 7'] })
  expect(codeOf(call({ id: { value: '5' } }))).toBe('MESSAGE_MALFORMED')
  expect(call({ taskId: '5', metadata: { id: '6' } })).toMatchObject({ ids: ['task 5'] })
})

test('no more ids are collected than it takes to refuse them', () => {
  const ids = new TaskIds()
  for (let at = 0; at < 10_000; at++) ids.add('task', `t${at}`)
  expect(ids.found.length).toBeLessThan(100)
  for (let at = 0; at < 10_000; at++) ids.mention(`m${at}`, 1)
  expect(codeOf(ids.done({ lists: false, creates: false }))).toBe('MESSAGE_MALFORMED')
})

test('the path of all tasks is a list where it is read, and names none where it is changed', () => {
  const of = (method: string, body?: unknown) => tasksOfPath(method, '/api/tasks?done=1', body)
  for (const method of ['GET', 'HEAD']) expect(of(method)).toMatchObject({ lists: true })
  expect(of('POST', { title: 'x' })).toMatchObject({ lists: false, creates: false, ids: [] })
  expect(of('POST', { id: '5' })).toMatchObject({ ids: ['task 5'] })
  for (const method of ['PUT', 'PATCH', 'DELETE'])
    expect(codeOf(of(method))).toBe('MESSAGE_MALFORMED')
})
