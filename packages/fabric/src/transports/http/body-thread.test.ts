import { EventEmitter } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { afterEach, expect, test, vi } from 'vitest'
import { composeBodies } from '../../compose-bodies.ts'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from '../../redaction/create-redactor.ts'
import { type BodyAnswer, type BodyJob, BodyThread } from './body-thread.ts'

/** A thread that answers when the test says so. */
class Puppet extends EventEmitter {
  readonly jobs: BodyJob[] = []
  ended = false

  postMessage(job: BodyJob): void {
    this.jobs.push(job)
  }

  answer(answer: BodyAnswer): void {
    this.emit('message', answer)
  }

  unref(): void {}

  async terminate(): Promise<number> {
    this.ended = true
    return 0
  }
}

function open() {
  const puppets: Puppet[] = []
  const thread = new BodyThread(() => {
    const puppet = new Puppet()
    puppets.push(puppet)
    return puppet as unknown as Worker
  })
  const redact = (client: string, name: string = client) =>
    thread.redact({ body: Buffer.from(name), contentType: 'text/plain' }, order, client)
  return { thread, puppets, redact }
}

const order = { mask: [], block: [] }
const unchanged = { value: { body: null, findings: [] } }
const nameOf = (job: BodyJob | undefined) => (job?.name === 'redact' ? String(job.body) : null)
const turn = () => new Promise((resolve) => setImmediate(resolve))

afterEach(() => void vi.useRealTimers())

test('clients take turns, however many bodies one of them has', async () => {
  const { puppets, redact } = open()
  const all = [redact('a', 'a1'), redact('a', 'a2'), redact('a', 'a3'), redact('b', 'b1')]
  const [puppet] = puppets
  for (const _ of all) {
    puppet?.answer(unchanged)
    await turn()
  }
  await Promise.all(all)
  expect(puppet?.jobs.map(nameOf)).toEqual(['a1', 'a2', 'b1', 'a3'])
})

test('what waits is bounded, for one client and for all', async () => {
  const { thread, redact } = open()
  const mine = Array.from({ length: 34 }, () => redact('a'))
  expect(await mine.at(-1)).toMatchObject({ code: 'OVERLOADED', limit: 'work.clientBodies, 32' })
  const others = Array.from({ length: 300 }, (_, i) => redact(`client-${i}`))
  expect(await others.at(-1)).toMatchObject({ code: 'OVERLOADED', limit: 'work.bodies, 256' })
  await thread.close()
  expect(await mine[0]).toMatchObject({ code: 'UNDECIDED' })
  expect(await others[0]).toMatchObject({ code: 'UNDECIDED' })
  expect(await redact('late')).toMatchObject({ code: 'UNDECIDED' })
})

test('a thread that dies or runs out of memory refuses its body, and the next has another', async () => {
  const { puppets, redact } = open()
  for (const [event, error, code] of [
    ['error', new Error('it broke'), 'UNDECIDED'],
    [
      'error',
      Object.assign(new Error(), { code: 'ERR_WORKER_OUT_OF_MEMORY' }),
      'MESSAGE_TOO_LARGE',
    ],
    ['exit', 1, 'UNDECIDED'],
  ] as const) {
    const answer = redact('a')
    puppets.at(-1)?.emit(event, error)
    expect(await answer).toMatchObject({ code })
  }
  const last = redact('a')
  puppets.at(-1)?.answer(unchanged)
  expect(await last).not.toBeInstanceOf(Refusal)
  expect(puppets).toHaveLength(4)
})

test('a body that takes too long is refused, and its thread is replaced', async () => {
  vi.useFakeTimers()
  const { puppets, redact } = open()
  const answer = redact('a')
  await vi.advanceTimersByTimeAsync(15_001)
  expect(await answer).toMatchObject({ code: 'MESSAGE_TOO_LARGE', limit: 'work.bodyMs, 15 s' })
  expect(puppets[0]?.ended).toBe(true)
})

test('the thread gives exactly what the redactor gives', async () => {
  const hashKey = new Uint8Array(32).fill(7)
  const redactor = createRedactor({ hashKey })
  const bodies = composeBodies(hashKey)
  const filler = 'x'.repeat(40_000)
  const given = [
    [JSON.stringify({ filler, card: '4111 1111 1111 1111' }), 'application/json'],
    [`${filler} and 4111 1111 1111 1111`, 'text/plain'],
    [JSON.stringify({ filler }), 'application/json'],
    ['{"twice":1,"twice":2}', 'application/json'],
    [filler, 'image/png'],
  ] as const
  const masking = { mask: ['card'], block: [] }
  for (const [text, contentType] of given) {
    const body = Buffer.from(text)
    const expected = redactor.redact(body, contentType, masking)
    const actual = await bodies.redact({ body, contentType }, masking, 'a')
    if (expected instanceof Refusal) expect(actual).toMatchObject({ code: expected.code })
    else expect(JSON.stringify(actual)).toBe(JSON.stringify(expected))
    if (!(expected instanceof Refusal) && expected.body === body) {
      expect((actual as typeof expected).body).toBe(body)
    }
  }
  await bodies.close()
}, 30_000)
