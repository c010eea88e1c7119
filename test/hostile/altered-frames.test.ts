import { randomBytes } from 'node:crypto'
import { createExchangeId, utf8 } from '@countersign/protocol'
import { AgentError, ndjsonResponse, type ReceivedRequest, verify } from '@countersign/sdk'
import { describe, expect, test } from 'vitest'
import { trustDomain } from '../harness/sdk-authority.ts'
import type { TestFabric } from '../harness/sdk-fabric.ts'
import { faultOf, sdkLab } from '../harness/sdk-lab.ts'
import { verifies } from '../requirements.ts'

const lab = sdkLab()

/** Serves an echo of lines; gives the requests that it received, and what became of them. */
async function serving() {
  const received: ReceivedRequest[] = []
  const ends: string[] = []
  await lab.serving((incoming) => {
    received.push(incoming)
    async function* answers() {
      try {
        for await (const value of incoming.stream?.values() ?? []) yield value
        ends.push('whole')
      } catch (error) {
        ends.push(error instanceof AgentError ? error.code : String(error))
        throw error
      }
    }
    return ndjsonResponse(answers())
  })
  return { received, ends }
}

async function called(count = 3) {
  const ndjson = Array.from({ length: count }, (_, n) => ({ n }))
  const reply = await lab.caller.call('pay', { ndjson })
  const values: unknown[] = []
  for await (const value of reply.values()) values.push(value)
  return { reply, values }
}

async function detailOf(made: Promise<unknown>): Promise<string> {
  const error: unknown = await made.then(
    () => null,
    (cause: unknown) => cause,
  )
  if (error instanceof AgentError && error.code === 'FRAMES_MISMATCHED') return error.message
  throw error instanceof Error ? error : new Error('it did not fail')
}

type Change = (lines: string[]) => string[]

const changed: Change = (lines) => lines.map((line) => line.replace('1', '7'))
const dropped: Change = (lines) => lines.slice(0, -1)
const moved: Change = (lines) => lines.toReversed()
const added: Change = (lines) => [...lines, '{"n":9}']

describe(
  verifies(['stream:proved-frames'], 'a fabric that records other frames than passed'),
  () => {
    test('is believed while it changes none', async () => {
      const { received } = await serving()
      const { reply, values } = await called()
      expect(values).toHaveLength(3)
      const receipt = await reply.receipt()
      const records = received[0]?.stream?.frameRecords()
      expect(records).toMatchObject({ request: { frames: 3 }, response: { frames: 3 } })
      await verify(receipt.bytes, lab.callee.trust, { as: 'receiver', ...records })
      await verify(receipt.bytes, lab.caller.trust, { as: 'caller', ...reply.frameRecords() })
    })

    test.each([
      ['changes one', changed, 'one was changed or moved'],
      ['drops the last one', dropped, 'some are missing here'],
      ['moves them', moved, 'one was changed or moved'],
      ['adds one', added, 'some are missing on record'],
    ])('and %s on the way to the receiver is found out by the receiver', async (_, change, why) => {
      const { received } = await serving()
      lab.fabric.deviations.requestFrames = change
      const { reply } = await called()
      const [incoming] = received
      const { request } = incoming!.stream!.frameRecords()
      const { bytes } = await lab.callee.receipt(String(reply.exchange))
      const kept = { as: 'receiver', request } as const
      const detail = await detailOf(verify(bytes, lab.callee.trust, kept))
      expect(detail).toContain('frames of the request')
      expect(detail).toContain(why)
    })

    test.each([
      ['changes one', changed, 'one was changed or moved'],
      ['ends the answer before its last one', dropped, 'some are missing here'],
      ['moves them', moved, 'one was changed or moved'],
      ['adds one', added, 'some are missing on record'],
    ])('and %s on the way back is found out by the caller', async (_, change, why) => {
      await serving()
      lab.fabric.deviations.responseFrames = change
      const { reply } = await called()
      const detail = await detailOf(reply.receipt())
      expect(detail).toContain('frames of the response')
      expect(detail).toContain(why)
    })

    test('and records fewer than were sent has no receipt of the whole', async () => {
      await serving()
      const short = [{ n: 0 }, { n: 1 }]
      const first = await lab.caller.call('pay', { ndjson: short })
      for await (const _ of first.values());
      const { entries } = await first.receipt()
      lab.fabric.deviations.facts = (facts, kind) => {
        if (kind !== 'outcome') return
        for (const name of [
          'request.transcript',
          'request.forwarded-transcript',
          'request.frames',
          'request.bytes',
        ]) {
          facts[name] = entries.at(-1)!.facts[name]!
        }
      }
      const { reply } = await called()
      expect(await detailOf(reply.receipt())).toContain('the first 2 of 3 frames')
      expect((await reply.receipt({ part: true })).exchange).toBe(reply.exchange)
      lab.fabric.deviations.facts = (facts, kind) => {
        if (kind === 'outcome') facts['request.frames'] = 2
      }
      const other = await called()
      expect(await faultOf(other.reply.receipt({ part: true }))).toBe('FRAMES_MISMATCHED')
    })

    test('and withholds the transcript, or shows the receipt of another stream, is not believed', async () => {
      await serving()
      const first = await called()
      const second = await called()
      lab.fabric.deviations.receiptOf = () => String(first.reply.exchange)
      expect(await faultOf(second.reply.receipt())).toBe('RECEIPT_MISMATCHED')
      delete lab.fabric.deviations.receiptOf
      const other = await called(2)
      const { bytes } = await second.reply.receipt()
      const kept = { as: 'caller', ...other.reply.frameRecords() } as const
      expect(await detailOf(verify(bytes, lab.caller.trust, kept))).toContain('on record')
      lab.fabric.deviations.facts = (facts) => delete facts['request.transcript']
      const third = await called()
      expect(await detailOf(third.reply.receipt())).toContain('no transcript of the request')
    })
  },
)

describe(verifies(['stream:proved-frames'], 'the head of a stream that is'), () => {
  type Forward = ReturnType<TestFabric['forwarded']> & { body: Uint8Array }

  type Stated = Partial<Parameters<TestFabric['forwarded']>[0]>

  async function forwarded(change: (request: Forward) => void, stated: Stated = {}) {
    const id = createExchangeId('a', Date.now(), randomBytes(10))
    const from = `spiffe://${trustDomain}/agent/invoice`
    const body = utf8('{"n":0}\n')
    const headers = [['content-type', 'application/x-ndjson']] as const
    const asked = { method: 'POST', headers }
    const of = {
      id,
      caller: from,
      name: 'pay',
      body,
      path: '/a',
      asked,
      isStreamed: true,
      ...stated,
    }
    const request = { ...lab.fabric.forwarded(of), body }
    change(request)
    const response = await lab.fabric.send(lab.fabric.endpoints.get('pay')!, 'pay', request)
    response.resume()
    return response.headers['countersign-refusal'] ?? String(response.statusCode)
  }

  const edit = (name: string, value: string | null) => (request: Forward) => {
    const at = request.headers.findIndex(([each]) => each === name)
    request.headers.splice(at, 1, ...(value === null ? [] : [[name, value] as [string, string]]))
  }

  test.each<[string, (request: Forward) => void, string, Stated?]>([
    ['as the fabric signed it is handed over', () => undefined, '200'],
    ['stripped of its statement is refused', edit('countersign-body', null), 'SIGNATURE_REJECTED'],
    ['stated in another form is refused', edit('countersign-body', 'x'), 'SIGNATURE_REJECTED'],
    [
      'stated where the fabric signed a message is refused',
      ({ headers }) => headers.push(['countersign-body', 'streamed']),
      'SIGNATURE_REJECTED',
      { isStreamed: false },
    ],
    [
      'stated where the fabric signed a request without content is refused',
      ({ headers }) => headers.push(['countersign-body', 'streamed']),
      'SIGNATURE_REJECTED',
      { isStreamed: false, body: new Uint8Array(0) },
    ],
    [
      'that a fabric states and signs in another form is refused',
      () => undefined,
      'SIGNATURE_REJECTED',
      { statement: 'chunked' },
    ],
    [
      'for another path is refused',
      (request) => {
        request.path = '/b'
      },
      'SIGNATURE_REJECTED',
    ],
    [
      'of another exchange is refused',
      edit('countersign-exchange', createExchangeId('a', 1, randomBytes(10))),
      'SIGNATURE_REJECTED',
    ],
    [
      'of a type without frames is refused',
      edit('content-type', 'application/json'),
      'CONTENT_UNSUPPORTED',
    ],
  ])('%s', async (_, change, code, stated) => {
    const { received } = await serving()
    expect(await forwarded(change, stated)).toBe(code)
    expect(received).toHaveLength(code === '200' ? 1 : 0)
  })

  test('brought a second time is refused', async () => {
    const { received } = await serving()
    lab.fabric.deviations.forwardTwice = true
    await called()
    expect(lab.fabric.refusals).toEqual(['MESSAGE_REPLAYED'])
    expect(received).toHaveLength(1)
  })

  test('followed by a cut line does not pass for a whole stream', async () => {
    const { ends } = await serving()
    const cut = (request: Forward): void => {
      request.body = utf8('{"n":0}\n{"n":1}')
    }
    await forwarded(cut).catch(() => undefined)
    await expect.poll(() => ends).toEqual(['BODY_UNFINISHED'])
  })
})
