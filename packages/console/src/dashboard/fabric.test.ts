import { MalformedError } from '@countersign/protocol'
import { afterEach, expect, test, vi } from 'vitest'
import { ask, NotAdmitted, watch } from './fabric.ts'

afterEach(() => {
  vi.unstubAllGlobals()
})

function answerWith(body: string, status = 200): void {
  vi.stubGlobal('fetch', () => Promise.resolve(new Response(body, { status })))
}

const entry = {
  ...{ kind: 'refusal', exchange: 'exc_1', index: 7, at: 1, facts: { code: 'NOT_PERMITTED' } },
  ...{ caller: 'support', principal: 'support', producer: null },
  ...{ object: null, reason: null, changedBy: null },
  ended: { result: 'refused', code: 'NOT_PERMITTED', reason: null },
}

const eventOf = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

test('an answer is read by the contract, without the fields that the page does not know', async () => {
  const page = { entries: [{ ...entry, later: 1 }], newer: 'a.01234567.8' }
  answerWith(JSON.stringify({ result: page }))
  expect(await ask('csk_1', 'ledger.read', {})).toEqual({ ...page, entries: [entry] })
})

test('an answer that breaks the contract is refused by the name of its field', async () => {
  answerWith(JSON.stringify({ result: { entries: [{ ...entry, ended: 'refused' }], newer: '' } }))
  await expect(ask('csk_1', 'ledger.read', {})).rejects.toThrow(
    new MalformedError('the answer.result.entries[0].ended is not an object'),
  )
})

test('each event of the watch is read by the contract', async () => {
  const followed = { ...entry, cursor: 'a.01234567.8' }
  answerWith(eventOf(followed) + eventOf({ ...followed, later: 1 }))
  const entries: unknown[] = []
  await watch('csk_1', 'a.01234567.7', (each) => entries.push(each))
  expect(entries).toEqual([followed, followed])
  answerWith(eventOf({ ...followed, facts: null }))
  await expect(watch('csk_1', 'a.01234567.7', () => undefined)).rejects.toThrow(
    new MalformedError('the entry.facts is not an object'),
  )
})

test('a key that the fabric refuses is not taken for an answer', async () => {
  answerWith('{}', 403)
  await expect(ask('csk_1', 'status', {})).rejects.toThrow(NotAdmitted)
})
