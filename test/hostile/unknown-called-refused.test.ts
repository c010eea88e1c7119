import { type EntryView, verifyReceipt } from '@countersign/protocol'
import { expect, vi } from 'vitest'
import { kindOf, resultOf } from '../../packages/fabric/src/cli/entry-view.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { field, send } from '../harness/doors.ts'
import { indexesOf, meshEntry } from '../harness/entries.ts'
import { openMaliciousServer } from '../harness/malicious-server.ts'
import { type Heard, talk } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

async function throughLoopback(world: World, to: string): Promise<Heard> {
  const { port, authority, path } = await world.connectors.loopback('caller', to, '/')
  const lines = [`POST ${path} HTTP/1.1`, `Host: ${authority}`, 'Content-Type: application/json']
  const bytes = `${lines.join('\r\n')}\r\nContent-Length: 10\r\n\r\n{"pay":10}`
  const [heard] = await talk({ port, credential: null }, [bytes])
  if (heard === undefined) throw new Error('the connector hung up')
  return heard
}

/** Returns the ending of an exchange, as its entries and its receipt state it. */
async function endingOf(world: World, exchange: string) {
  const explained = (await world.admin('policy.explain', { exchange })) as {
    readonly entries: readonly EntryView[]
  }
  const closing = explained.entries.at(-1)
  if (closing === undefined) throw new Error('nothing is on record')
  const path = `/v1/receipts/${exchange}`
  const { body } = await send(world.control, { method: 'GET', path, body: null })
  const receipt = await verifyReceipt(new Uint8Array(body), world.caller.trust)
  return {
    recordedAs: closing.kind,
    shown: [kindOf(closing), resultOf(closing)],
    ended: closing.ended,
    receipt: receipt.ending,
  }
}

const json = ['content-type', 'application/json'] as const

/** A receiver that has the whole request, as its caller's connector sees it. */
const calledBy =
  (headers: readonly (readonly [string, string])[], ends: 'unknown' | 'stated', code: string) =>
  async (world: World): Promise<void> => {
    const name = `malicious-${ends}`
    const identity = await world.agent(name, ['open'])
    const body = '{"a":1}'
    let reached = 0
    const maliciousServer = await openMaliciousServer(identity, () => {
      reached += 1
      return { status: 200, headers: [json, ...headers], body }
    })
    try {
      const heard = await vi.waitFor(async () => {
        const before = reached
        const answer = await throughLoopback(world, name)
        // Until its connector knows the attacker's roles, it refuses the call itself, with a code
        // of this kind.
        expect(reached).toBeGreaterThan(before)
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(field(answer, 'countersign-refusal')).toBe(code)
        // Until its connector knows the attacker's address, calls go by the gateway, which has an
        // intent.
        const [first] = await world.explain(exchangeOf(answer))
        expect(first?.facts['transport']).toBe('mesh')
        return answer
      }, deadline)
      const { recordedAs, shown, ended, receipt } = await endingOf(world, exchangeOf(heard))
      expect(recordedAs).toBe('refusal')
      expect(ended).toEqual({ result: ends, code, reason: null })
      expect(receipt).toEqual({ result: ends, code })
      expect(shown).toEqual(
        ends === 'unknown' ? ['indeterminate', 'unknown'] : ['outcome', `stated: ${code}`],
      )
    } finally {
      await maliciousServer.close()
    }
  }

const contradicting: Attempt = async (world) => {
  const refusals = [
    { code: 'OUTCOME_UNKNOWN', result: 'withheld' },
    { code: 'OUTCOME_UNKNOWN', result: 'refused' },
    { code: 'NOT_PERMITTED', result: 'unknown' },
    { code: 'NOT_PERMITTED', result: 'delivered' },
  ]
  const entries = refusals.map((facts) => meshEntry({ kind: 'refusal', facts }))
  expect(await indexesOf(world, [...entries, meshEntry()])).toEqual([
    ...refusals.map(() => null),
    expect.any(Number),
  ])
}

attack(
  verifies(
    ['record:ending'],
    'an exchange that the receiver may have acted on is not shown as refused',
  ),
  {
    gateway: 'the fabric closes the intent: tested by receiver-that-breaks-off',
    mesh: {
      'half a response': calledBy(
        [
          ['content-length', '70'],
          ['connection', 'close'],
        ],
        'unknown',
        'OUTCOME_UNKNOWN',
      ),
      'a response that only calls itself a refusal': calledBy(
        [['countersign-refusal', 'NOT_PERMITTED']],
        'stated',
        'NOT_PERMITTED',
      ),
      'by an entry whose result and code contradict each other': contradicting,
    },
    queue: 'the fabric is the receiver: tested by lost-response',
  },
)
