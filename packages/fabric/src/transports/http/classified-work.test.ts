import { utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inlineBytesMax, inlineStepsMax } from '../../pipeline/loop-share.ts'
import { holdsCard } from '../../protocols/a2a/card-content.ts'
import { taskReaders } from '../../protocols/a2a/task-reader.ts'
import { classifyRequest } from '../../protocols/classify.ts'
import { knownIn } from '../../protocols/known-references.ts'
import { addKnown, createIdFilter } from '../../protocols/reading/known-ids.ts'
import type { Work } from '../../protocols/reading/reading-steps.ts'
import { InspectionWork, TooMuchWork } from '../../redaction/inspection-work.ts'

const filter = createIdFilter()
addKnown(filter, '0b5f2c1e-7a44-4a7e-9d0c-3f1f5b7f0a11')

function classified(text: string, type: string, known = [filter]) {
  const head = {
    method: 'POST',
    path: '/',
    authority: 'a',
    headers: new Map([['content-type', type]]),
  }
  return (work: Work) => classifyRequest({ head, body: utf8(text) }, '/', 'auto', { known, work })
}

test('ids in a head are looked for on the account of its sender', () => {
  const written = '%255c1%2526'.repeat(700)
  const heads = [
    { path: `/?a=${written}`, headers: new Map<string, string>() },
    { path: '/', headers: new Map([['mcp-param-a', written]]) },
  ]
  for (const head of heads) {
    const asked = (work: Work) => knownIn(head, null, { bytes: utf8(''), given: [filter], work })
    expect(stepsOf(asked)).toBeGreaterThan(2 * written.length)
    expect(() => asked(new InspectionWork(written.length))).toThrow(TooMuchWork)
  }
})

function stepsOf(read: (work: Work) => unknown): number {
  const work = new InspectionWork(Number.MAX_SAFE_INTEGER)
  read(work)
  return work.spent
}

const text = 'text/plain'
const json = 'application/json'
const form = 'application/x-www-form-urlencoded'
/** The input that each search reads, of as many bytes as it is given. */
const searches: Readonly<Record<string, (bytes: number) => (work: Work) => unknown>> = {
  'for calls in text': (bytes) => classified('a '.repeat(bytes / 2), text, []),
  'for calls in text that speaks of a method': (bytes) =>
    classified(`method${'.s.e.n.d'.repeat(bytes / 8)}`, text, []),
  'for calls behind escapes': (bytes) => classified('\\1\\t'.repeat(bytes / 4), text, []),
  'for tasks in a form': (bytes) => classified('a=1&'.repeat(bytes / 4), form, []),
  'for tasks in JSON': (bytes) => classified(`[${'{"aaaaa":1},'.repeat(bytes / 12)}1]`, json, []),
  'for an address in a form': (bytes) => classified('\t3contextid'.repeat(bytes / 11), form, []),
  'for ids of others': (bytes) => classified(`["${'a.'.repeat(bytes / 2)}"]`, json),
  'for cards': (bytes) => (work) => holdsCard(utf8('\\kills '.repeat(bytes / 8)), work),
  'for tasks that an answer created': (bytes) => (work) =>
    taskReaders.createdIn(utf8(`{"taskId":[${'1,'.repeat(bytes / 2)}1]}`), [], work),
  'for tasks that an answer lists': (bytes) => (work) =>
    taskReaders.listedIn(utf8(`[${'1,'.repeat(bytes / 2)}1]`), [], work),
  'for tasks that a list may keep': (bytes) => (work) =>
    taskReaders.filtered(utf8(`[${'1,'.repeat(bytes / 2)}1]`), [], work),
}

test.each(Object.entries(searches))('a search %s ends where its steps do', (_, search) => {
  const bytes = 24_000
  const steps = stepsOf(search(bytes))
  expect(steps).toBeGreaterThan(2 * bytes)
  expect(() => search(bytes)(new InspectionWork(steps - 1))).toThrow(TooMuchWork)
  // Twice as much of the same costs twice as much.
  expect(stepsOf(search(2 * bytes)) / steps).toBeGreaterThan(1.9)
  expect(stepsOf(search(2 * bytes)) / steps).toBeLessThan(2.1)
})

test('no text costs more steps than its bytes can', () => {
  const piece = fc.constantFrom(
    ...[
      '\\',
      '%',
      '&',
      '\\1',
      '%25',
      '&#',
      'method',
      'jsonrpc',
      'tools/',
      '"',
      '=',
      ';',
      '<',
      'a',
      '\n',
    ],
  )
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 8 }), (pieces) => {
      const sample = pieces.join('').repeat(50)
      // As many readings as there may be, each undone and searched.
      expect(stepsOf(classified(sample, text)) / sample.length).toBeLessThan(1_000)
    }),
  )
})

test('an ordinary message that is small is read on the event loop', () => {
  const words = 'The method of payment is a card; send a list of tasks & call. '
  const call = JSON.stringify({
    ...{ jsonrpc: '2.0', id: 1, method: 'SendMessage' },
    params: { message: { parts: Array.from({ length: 60 }, () => ({ text: words })) } },
  })
  for (const [body, type] of [
    [words.repeat(inlineBytesMax / words.length), text],
    [call.padEnd(inlineBytesMax), json],
  ] as const) {
    expect(stepsOf(classified(body, type))).toBeLessThan(inlineStepsMax)
  }
})
