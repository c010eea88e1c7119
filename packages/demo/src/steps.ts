import { REFUSALS } from '@countersign/protocol'
import { AGENTS, MASKED_CLASSES } from './demo-policy.ts'
import { queue } from './queue-step.ts'
import type { Setup } from './setup.ts'
import { proveReceipt, type Step } from './step.ts'

/** Numbers and addresses that are not assigned: test values of their issuers. */
const PERSONAL: Readonly<Record<(typeof MASKED_CLASSES)[number], string>> = {
  card: '4111 1111 1111 1111',
  iban: 'DE89 3704 0044 0532 0130 00',
  email: 'anna.berg@example.com',
  phone: '+44 20 7946 0958',
}

const NOTE =
  `Invoice 2107: refund to card ${PERSONAL.card} or IBAN ${PERSONAL.iban}, ` +
  `then tell ${PERSONAL.email} or call ${PERSONAL.phone}.`

const gateway: Step = {
  name: 'gateway',
  title: 'support asks billing over A2A; personal data is masked',
  async run(setup) {
    const { url } = await setup.support.send('meet', AGENTS.billing)
    const exchanged = await setup.support.send('ask', NOTE)
    const heard = (await setup.billing.send('listReceived')).at(-1) ?? ''
    const values = Object.values(PERSONAL)
    const leaked = values.filter((value) => heard.includes(value) || exchanged.text.includes(value))
    const expected = { caller: AGENTS.support, receiver: AGENTS.billing, result: 'delivered' }
    const proof = await proveReceipt(exchanged.receipt, setup, expected)
    const masked = String(proof.receipt.entries[0]?.facts['masked'] ?? '')
    const classes = MASKED_CLASSES.filter((each) => masked.includes(`${each}:1`))
    const { request, response } = proof.receipt
    return {
      checks: [
        { says: 'agent card signed by the fabric, and it leads here', ok: leadsHere(url, setup) },
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

function leadsHere(url: string, { origin }: Setup): boolean {
  return url.startsWith(`${origin}/agents/${AGENTS.billing}/`)
}

const customer = 'Berg Logistics'

const mesh: Step = {
  name: 'mesh',
  title: 'support calls records over MCP, connector to connector',
  async run(setup) {
    const url = `${setup.supportUrl}/${AGENTS.records}/mcp`
    const answer = await setup.support.send('callTool', { url, tool: 'find_record', customer })
    const calls = await setup.records.send('listCalls')
    const bytes = await setup.support.send('fetchReceipt', answer.exchange)
    const expected = { caller: AGENTS.support, receiver: AGENTS.records, result: 'delivered' }
    const proof = await proveReceipt(bytes, setup, expected)
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

const denied: Step = {
  name: 'denied',
  title: 'support tries another tool, which no policy permits',
  async run(setup) {
    const url = `${setup.supportUrl}/${AGENTS.records}/mcp`
    const answer = await setup.support.send('callTool', { url, tool: 'delete_record', customer })
    const calls = await setup.records.send('listCalls')
    const asked = { exchange: answer.exchange }
    const { policy } = await setup.operator.admin('policy.explain', asked)
    const why = policy?.text.split('\n') ?? []
    return {
      checks: [
        { says: 'refused with NOT_PERMITTED', ok: answer.refusal === 'NOT_PERMITTED' },
        {
          says: 'records never received it',
          ok: !calls.some((call) => call.startsWith('delete_record')),
        },
        {
          says: 'the explanation names what would have to be true',
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

/** The promise of docs/refusals.md: how late the last byte of a withdrawn stream may come. */
const cutMsMax = 1_000

const quarantine: Step = {
  name: 'quarantine',
  title: 'support is quarantined in the middle of a stream',
  async run(setup) {
    const { support, operator, clock } = setup
    await support.send('openStream', 'watch the payment run')
    const ended = support.send('awaitStreamEnd').then((end) => ({ end, at: clock.monotonic() }))
    const requestedAt = clock.monotonic()
    await operator.admin('agent.quarantine', {
      name: AGENTS.support,
      reason: 'demo: it behaves oddly',
    })
    const { end, at } = await ended
    const cutMs = at - requestedAt
    await operator.admin('agent.restore', { name: AGENTS.support, reason: 'demo: it was a drill' })
    const { receipt } = await support.send('fetchStreamReceipt')
    const expected = { caller: AGENTS.support, receiver: AGENTS.billing, result: 'cut' }
    const proof = await proveReceipt(receipt, setup, expected)
    const again = await support.send('ask', 'Invoice 2108: thank you.')
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
        ['cut after', `${cutMs.toFixed(1)} ms, from the operator’s request to the last byte`],
        ['refused', `${end.refusal}: ${REFUSALS.WITHDRAWN.says}`],
        ...proof.seen,
      ],
      facts: { ...proof.facts, events: end.events, cutMs, refusal: end.refusal },
    }
  },
}

/** The steps of the demo, in their order. */
export const STEPS: readonly Step[] = [gateway, mesh, denied, queue, quarantine]
