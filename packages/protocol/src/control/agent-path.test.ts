import { expect, test } from 'vitest'
import { isCardPath, isServicePath, restOperation } from './agent-path.ts'

test.each([
  ['GET', '/tasks', 'ListTasks'],
  ['GET', '/a/b/c/tasks', 'ListTasks'],
  ['GET', '/a/b/c/d/e/f/tasks.json', 'ListTasks'],
  ['GET', '/a/b/c/tasks/5', 'GetTask'],
  ['HEAD', '/a/b/c/tasks/5.json', 'GetTask'],
  ['POST', '/a/b/c/message:send', 'SendMessage'],
  ['POST', '/message:send.json', 'SendMessage'],
  ['POST', '/message:stream/x', 'SendStreamingMessage'],
  ['POST', '/tasks/5:cancel.json', 'CancelTask'],
  ['POST', '/tasks/5:cancel/x', 'CancelTask'],
  ['GET', '/a/b/c/v1/card.json', 'GetExtendedAgentCard'],
])('%s %s is the operation %s after any prefix and with a format', (method, path, operation) => {
  expect(restOperation(method, path)?.operation).toBe(operation)
})

test.each(['/', '/task', '/my-tasks', '/tasks-of-mine', '/messages', '/a/message', '/tasks/5/x'])(
  'the path %s is that of an application',
  (path) => {
    expect(restOperation('GET', path)).toBeNull()
    expect(isCardPath(path) || isServicePath(path)).toBe(false)
  },
)

test('a long path takes no longer than its length', () => {
  const paths = [
    '/tasks/.'.repeat(1024),
    `/tasks/${':cancel.a'.repeat(900)}/`,
    `/a${'.a2a'.repeat(2000)}`,
  ]
  for (const path of paths) {
    expect(isCardPath(path) || isServicePath(path)).toBe(false)
    restOperation('GET', path)
  }
})
