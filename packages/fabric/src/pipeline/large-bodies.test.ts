import { describe, expect, test } from 'vitest'
import { DATA_CLASSES } from '../redaction/redactor.ts'
import { createRedactor } from '../redaction/scan/create-redactor.ts'
import { noParts, type Parts } from './inspect-parts.ts'
import { inspectShared, type LargeBodies, readControl } from './large-bodies.ts'
import { inlineBytesMax, LoopShare } from './loop-share.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })
const order = { mask: DATA_CLASSES, block: [] }

/**
 * Counts what is handed to the thread. Every message takes `costMs`, and `cpuMs` of the processor.
 */
function open(costMs = 0, cpuMs = costMs) {
  let now = 0
  let used = 0
  let handed = 0
  const largeBodies: LargeBodies = {
    loop: new LoopShare(
      () => {
        now += costMs / 2
        return now
      },
      () => {
        used += cpuMs
        return used
      },
    ),
    async inspect({ body }) {
      handed++
      return { fields: [], frame: [], body, findings: [] }
    },
  }
  return {
    inspect: (parts: Partial<Parts>, client = 'a', isFrame = false) =>
      inspectShared({ redactor, largeBodies }, { ...noParts, ...parts }, order, {
        ...{ name: client, caller: client, isAnswer: false, isFrame },
      }),
    handed: () => handed,
    read: (client: string) => readControl({ largeBodies }, client, () => 'read'),
    wait: (ms: number) => {
      now += ms
    },
  }
}

const filled = (unit: string, length: number) =>
  unit.repeat(Math.ceil(length / unit.length)).slice(0, length)

describe('any part of a message that is large goes to the thread', () => {
  const large = filled('a ', inlineBytesMax + 1)
  const body = { contentType: 'text/plain' }
  test.each<[string, Partial<Parts>]>([
    ['body', { ...body, body: Buffer.from(large) }],
    ['path', { path: `/${large}` }],
    ['field', { fields: [['x-note', large]] }],
    ['fields together', { fields: Array.from({ length: 90 }, () => ['x', filled('a', 99)]) }],
    ['id of an event', { frame: [['id', large]] }],
    ['name of an event', { frame: [['event', large]], body: Buffer.from('a'), ...body }],
    ['nonce', { signature: { components: [], nonce: large } }],
    ['components', { signature: { components: [large], nonce: null } }],
  ])('%s', async (_, parts) => {
    const { inspect, handed } = open()
    await inspect(parts)
    expect(handed()).toBe(1)
  })
})

describe('a small message goes to the thread when it is costly', () => {
  const costly = filled('a@b.co ', inlineBytesMax - 10)
  test.each<[string, Partial<Parts>]>([
    ['body', { body: Buffer.from(costly), contentType: 'text/plain' }],
    ['field', { fields: [['x-note', costly]] }],
    ['event', { frame: [['id', costly]] }],
  ])('%s', async (_, parts) => {
    const { inspect, handed } = open()
    await inspect(parts)
    expect(handed()).toBe(1)
  })
})

test('an ordinary message is inspected at once, head and body', () => {
  const { inspect, handed } = open()
  const text = JSON.stringify({
    contact: 'person@example.org',
    note: filled('lorem ipsum ', 7_000),
  })
  const body = Buffer.from(text)
  const parts = { path: '/a', body, contentType: 'application/json', fields: [] }
  expect(inspect(parts)).toMatchObject({ findings: [{ dataClass: 'email' }] })
  expect(handed()).toBe(0)
})

test('frames count by number: a flood of them that take no time gets the thread', async () => {
  const { inspect, handed, wait } = open()
  const parts = { body: Buffer.from('1'), contentType: 'application/json' }
  for (let i = 0; i < 20_000; i++) await inspect(parts, 'a', true)
  expect(handed()).toBeGreaterThan(5_000)
  const before = handed()
  for (let i = 0; i < 1_000; i++) await inspect(parts, 'b', true)
  expect(handed()).toBe(before)
  wait(60_000)
  await inspect(parts, 'a', true)
  expect(handed()).toBe(before)
})

test('a client that has used its share of the event loop gets the thread, others do not', async () => {
  const { inspect, handed, wait } = open(5)
  const parts = { path: '/a', body: Buffer.from('a'), contentType: 'text/plain' }
  for (let i = 0; i < 200; i++) await inspect(parts)
  expect(handed()).toBeGreaterThan(50)
  const before = handed()
  await inspect(parts, 'b')
  expect(handed()).toBe(before)
  wait(10_000)
  await inspect(parts)
  expect(handed()).toBe(before)
})

test('messages that cost what ordinary ones do use no share', async () => {
  const { inspect, handed } = open(0.2)
  for (let i = 0; i < 5_000; i++) await inspect({ path: '/a' })
  expect(handed()).toBe(0)
})

test('the work of other processes meanwhile is on no account', async () => {
  const { inspect, handed, read } = open(50, 0.2)
  for (let i = 0; i < 1_000; i++) await inspect({ path: '/a' })
  expect(handed()).toBe(0)
  for (let i = 0; i < 1_000; i++) expect(read('a')).toBe('read')
})

test('requests to the fabric itself are refused to a client that has used its share', () => {
  const { read, wait } = open(40)
  for (let i = 0; i < 100; i++) read('a')
  expect(read('a')).toMatchObject({ code: 'OVERLOADED', limit: 'work.controlMs, 1 s' })
  expect(read('b')).toBe('read')
  wait(100_000)
  expect(read('a')).toBe('read')
})
