import { REFUSALS } from '@countersign/protocol'
import { systemClock } from '../../lib/clock.ts'
import type { Explained } from '../explain.ts'
import { CAST, MASKED_CLASSES } from './demo-policy.ts'
import { queue } from './queue-scene.ts'
import { proveReceipt, type Scene } from './scene.ts'
import type { Stage } from './stage.ts'

/** Numbers and addresses that belong to no person: test values of their issuers. */
const PERSONAL: Readonly<Record<(typeof MASKED_CLASSES)[number], string>> = {
  card: '4111 1111 1111 1111',
  iban: 'DE89 3704 0044 0532 0130 00',
  email: 'anna.berg@example.com',
  phone: '+44 20 7946 0958',
}

const NOTE =
  `Invoice 2107: refund to card ${PERSONAL.card} or IBAN ${PERSONAL.iban}, ` +
  `then tell ${PERSONAL.email} or call ${PERSONAL.phone}.`

const gateway: Scene = {
  step: 'gateway',
  title: 'support asks billing over A2A, and its personal data is masked on the way',
  async play(stage) {
    const { url } = await stage.support.order('meet', CAST.billing)
    const exchanged = await stage.support.order('ask', NOTE)
    const heard = (await stage.billing.order('tellHeard')).at(-1) ?? ''
    const values = Object.values(PERSONAL)
    const leaked = values.filter((value) => heard.includes(value) || exchanged.text.includes(value))
    const expected = { caller: CAST.support, receiver: CAST.billing, result: 'delivered' }
    const proof = await proveReceipt(exchanged.receipt, stage, expected)
    const masked = String(proof.receipt.entries[0]?.facts['masked'] ?? '')
    const classes = MASKED_CLASSES.filter((each) => masked.includes(`${each}:1`))
    const { request, response } = proof.receipt
    return {
      checks: [
        { says: 'agent card signed by the fabric, and it leads here', ok: leadsHere(url, stage) },
        { says: 'billing saw none of the four values', ok: heard !== '' && leaked.length === 0 },
        { says: 'the rest of the note arrived', ok: heard.startsWith('Invoice 2107: refund to') },
        { says: 'the ledger names the four classes', ok: classes.length === MASKED_CLASSES.length },
        {
          says: 'caller and callee both signed',
          ok: request.by === 'caller' && response.by === 'callee',
        },
        ...proof.checks,
      ],
      seen: [
        ['sent', NOTE],
        ['billing saw', heard],
        ['masked', masked],
        ['answered', exchanged.text],
        ...proof.seen,
      ],
      facts: { ...proof.facts, card: url, sent: NOTE, heard, masked, answer: exchanged.text },
    }
  },
}

function leadsHere(url: string, { origin }: Stage): boolean {
  return url.startsWith(`${origin}/agents/${CAST.billing}/`)
}

const customer = 'Berg Logistics'

const mesh: Scene = {
  step: 'mesh',
  title: 'support calls a tool of records over MCP, connector to connector',
  async play(stage) {
    const url = `${stage.supportUrl}/${CAST.records}/mcp`
    const answer = await stage.support.order('callTool', { url, tool: 'find_record', customer })
    const calls = await stage.records.order('tellCalls')
    const bytes = await stage.support.order('fetchReceipt', answer.exchange)
    const expected = { caller: CAST.support, receiver: CAST.records, result: 'delivered' }
    const proof = await proveReceipt(bytes, stage, expected)
    const { request, response } = proof.receipt
    const carried = answer.credentials.length
    return {
      checks: [
        { says: 'the tool was called', ok: calls.includes(`find_record ${customer}`) },
        { says: 'the agents themselves hold no credential', ok: carried === 0 },
        { says: 'both connectors signed', ok: request.by === 'caller' && response.by === 'callee' },
        ...proof.checks,
      ],
      seen: [['answered', answer.text], ...proof.seen],
      facts: { ...proof.facts, url, answer: answer.text, credentials: answer.credentials },
    }
  },
}

const denied: Scene = {
  step: 'denied',
  title: 'support tries another tool, which no policy permits',
  async play(stage) {
    const url = `${stage.supportUrl}/${CAST.records}/mcp`
    const answer = await stage.support.order('callTool', { url, tool: 'delete_record', customer })
    const calls = await stage.records.order('tellCalls')
    const asked = { exchange: answer.exchange }
    const { policy } = await stage.operator.admin<Explained>('policy.explain', asked)
    const why = policy?.text.split('\n') ?? []
    return {
      checks: [
        { says: 'refused with NOT_PERMITTED', ok: answer.refusal === 'NOT_PERMITTED' },
        {
          says: 'records never heard of it',
          ok: !calls.some((call) => call.startsWith('delete_record')),
        },
        {
          says: 'the ledger can say what would have to be true',
          ok: why.some((line) => line.includes('find_record')),
        },
      ],
      seen: [
        ['refused', `${answer.refusal}: ${REFUSALS.NOT_PERMITTED.says}`],
        ...nearest(why).map((line, at) => [at === 0 ? 'why' : '', line] as const),
        ['exchange', answer.exchange],
      ],
      facts: { exchange: answer.exchange, refusal: answer.refusal, why },
    }
  },
}

/** The verdict, and of the policies that came near only the nearest. */
function nearest(why: readonly string[]): readonly string[] {
  const isHead = (line: string): boolean => line.startsWith('Policy ')
  const second = why.findIndex((line, at) => isHead(line) && why.slice(0, at).some(isHead))
  return second === -1 ? why : why.slice(0, second)
}

/**
 * The time limit that the fabric promises (docs/refusals.md): the last byte of a withdrawn stream,
 * at the latest.
 */
const cutMsMax = 1_000

const quarantine: Scene = {
  step: 'quarantine',
  title: 'support is quarantined in the middle of a stream',
  async play(stage) {
    const { support, operator } = stage
    await support.order('openStream', 'watch the payment run')
    const ended = support
      .order('awaitStreamEnd')
      .then((end) => ({ end, at: systemClock.monotonic() }))
    const orderedAt = systemClock.monotonic()
    await operator.admin('agent.quarantine', {
      name: CAST.support,
      reason: 'demo: it behaves oddly',
    })
    const { end, at } = await ended
    const cutMs = at - orderedAt
    await operator.admin('agent.restore', { name: CAST.support, reason: 'demo: it was a drill' })
    const { receipt } = await support.order('fetchStreamReceipt')
    const expected = { caller: CAST.support, receiver: CAST.billing, result: 'cut' }
    const proof = await proveReceipt(receipt, stage, expected)
    const again = await support.order('ask', 'Invoice 2108: thank you.')
    return {
      checks: [
        { says: `the stream was cut within ${cutMsMax} ms`, ok: cutMs <= cutMsMax },
        { says: 'it ended with the refusal', ok: end.refusal === 'WITHDRAWN' },
        ...proof.checks,
        {
          says: 'once restored, support is answered again',
          ok: again.text.includes('Invoice 2108'),
        },
      ],
      seen: [
        ['events', `${end.events} before the cut`],
        ['cut after', `${cutMs.toFixed(1)} ms, counted from the operator’s order to the last byte`],
        ['refused', `${end.refusal}: ${REFUSALS.WITHDRAWN.says}`],
        ...proof.seen,
      ],
      facts: { ...proof.facts, events: end.events, cutMs, refusal: end.refusal },
    }
  },
}

/** The story, in its order. */
export const SCENES: readonly Scene[] = [gateway, mesh, denied, queue, quarantine]
