import { expect, test } from 'vitest'
import { SharedAnswers } from './shared-answers.ts'

test('questions of one name that overlap share one answer, and the next one asks anew', async () => {
  const answers = new SharedAnswers<string, number>()
  const held = Promise.withResolvers<number>()
  let asked = 0
  const question = () => {
    asked += 1
    return held.promise
  }
  const [first, second] = [answers.ask('a', question), answers.ask('a', question)]
  const other = answers.ask('b', () => Promise.resolve(2))
  expect(await other).toBe(2)
  held.resolve(1)
  expect(await Promise.all([first, second])).toEqual([1, 1])
  expect(asked).toBe(1)
  expect(await answers.ask('a', () => Promise.resolve(3))).toBe(3)
})

test('a failed answer is not kept', async () => {
  const answers = new SharedAnswers<string, number>()
  await expect(answers.ask('a', () => Promise.reject(new Error('away')))).rejects.toThrow('away')
  expect(await answers.ask('a', () => Promise.resolve(1))).toBe(1)
})
