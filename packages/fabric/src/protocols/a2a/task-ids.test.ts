import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { topics } from '../reading/request-fields.ts'
import { TaskIds } from './task-ids.ts'

const all = topics.task | topics.event | topics.session

describe('the limit of mentioned ids', () => {
  test.each([
    ['tasks', topics.task, 2],
    ['streams', topics.event, 1],
    ['sessions', topics.session, 1],
    ['any of them', all, 4],
  ])('counts ids, of %s', (_, about, keys) => {
    const ids = new TaskIds()
    for (let i = 0; i < 1_024; i++) ids.mention(`id-${i}`, about)
    const read = ids.done({ lists: false, creates: false })
    expect(read).not.toBeInstanceOf(Refusal)
    expect(read).toMatchObject({ mentions: { length: keys * 1_024 } })
    ids.mention('one-more', about)
    expect(ids.done({ lists: false, creates: false })).toMatchObject({
      ...{ code: 'MESSAGE_MALFORMED', limit: 'tasks.mentions, 1024' },
    })
  })

  test('counts an id once, whatever it was mentioned as', () => {
    const ids = new TaskIds()
    for (const about of [topics.task, topics.event, topics.session, topics.task]) {
      for (let i = 0; i < 1_024; i++) ids.mention(`id-${i}`, about)
    }
    const read = ids.done({ lists: false, creates: false })
    const keys = ['task id-7', 'context id-7', 'event id-7', 'session id-7']
    expect(read).toMatchObject({ mentions: expect.arrayContaining(keys) as readonly string[] })
    expect(read).toMatchObject({ mentions: { length: 4 * 1_024 } })
  })
})
