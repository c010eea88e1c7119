import fc from 'fast-check'
import { expect, test } from 'vitest'
import { topics, visitForm, visitIdentifiers, visitJson, visitText } from './request-fields.ts'

const name = fc.constantFrom(
  ...['taskId', 'TASK_ID', 'task.id', 'task[id]', 'task-id', 'taskId[]', 'taskId[3]', ' taskId'],
  ...['message[taskId]', 'a.b.task_id', 'x[task][id][]', 'tas\u212a_id', '\uff54askId'],
)
const value = fc.stringMatching(/^[a-z0-9]{3,12}$/)

test('a value is found in a query under every spelling of its name, at every place', () => {
  const layers = fc.integer({ min: 1, max: 3 })
  const separator = fc.constantFrom('&', ';', '%26', '%3b')
  fc.assert(
    fc.property(name, value, layers, separator, (given, id, count, between) => {
      let written = given
      for (let i = 0; i < count; i++) written = encodeURIComponent(written)
      const found: unknown[] = []
      visitForm(`a=1${between}${written}=${id}${between}b=2`, (each, { topics }) => {
        if (topics !== 0) found.push(each)
      })
      expect(found).toContain(id)
    }),
  )
})

test('a value is found in JSON at every depth, and in the same JSON as text', () => {
  const place = fc.array(fc.constantFrom('a', 'metadata', null), { maxLength: 6 })
  const plain = fc.constantFrom('taskId', 'task_id', 'TaskId', 'task-id')
  fc.assert(
    fc.property(plain, value, place, (given, id, around) => {
      let document: unknown = { [given]: id }
      for (const each of around) document = each === null ? [document] : { x: 1, [each]: document }
      const found: unknown[] = []
      visitJson(document, (each, { topics }) => {
        if (topics !== 0) found.push(each)
      })
      expect(found).toEqual([id])
      const inText: unknown[] = []
      visitText(JSON.stringify(document), (each) => inText.push(each))
      expect(inText).toContain(id)
    }),
  )
})

test('text of such words alone is read in one pass', () => {
  const found: unknown[] = []
  visitText('task'.repeat(250_000), (each) => found.push(each))
  visitText('task:'.repeat(200_000), () => undefined)
  visitIdentifiers('%25'.repeat(2_700), (each) => found.push(each))
  expect(found).toEqual([])
})

test('a path of many names in one name is a single name', () => {
  const long = `${'params.'.repeat(5_000)}taskId`
  visitJson({ outer: { [long]: [1] } }, (_, found) => {
    expect(found).toMatchObject({ word: 'taskid', isOpaque: true, topics: topics.task })
    expect(found.outer?.word).toBe('outer')
  })
  visitForm(`${'a.'.repeat(63)}taskId=5`, (_, { isOpaque }) => expect(isOpaque).toBe(false))
  expect.assertions(3)
})
