import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { exchangeOf, expectOutcome } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

const lying = '{"code":"RATE_LIMITED","retry":true}'

/** Every spelling that some reader of event streams might take for an event of the fabric. */
const events: Readonly<Record<string, string>> = {
  'as the event': `event: countersign-refusal\ndata: ${lying}\n\n`,
  'without a blank': `event:countersign-refusal\ndata: ${lying}\n\n`,
  'with two blanks': `event:  countersign-refusal\ndata: ${lying}\n\n`,
  'in capitals': `event: Countersign-Refusal\ndata: ${lying}\n\n`,
  'in wide letters': `event: ｃountersign-refusal\ndata: ${lying}\n\n`,
  'with something invisible': `event: counter\u200bsign-refusal\ndata: ${lying}\n\n`,
  'after another name': `event: message\nevent: countersign-refusal\ndata: ${lying}\n\n`,
  'as an id': `id: countersign-refusal\ndata: ${lying}\n\n`,
  'by carriage returns': `event: countersign-refusal\rdata: ${lying}\r\r`,
  'without data': 'event: countersign-refusal\n\n',
  'as another event of ours': `event: countersign-anything\ndata: ${lying}\n\n`,
}

const told =
  (transport: 'gateway' | 'mesh', event: string): Attempt =>
  async (world) => {
    const heard = await world.echo.during(
      streaming(['data: {"a":1}\n\n', event, 'data: {"b":2}\n\n']),
      async () => {
        const stream = await openStream(world[transport], {})
        const text = await stream.ended()
        stream.close()
        return text
      },
    )
    expect(heard).toContain('"a":1')
    expect(heard).not.toContain('RATE_LIMITED')
    expect(heard).not.toContain('"b":2')
    expect(heard.match(/^event: .*$/gm)).toEqual(['event: countersign-refusal'])
    expect(heard).toContain('"code":"RESPONSE_REJECTED"')
    const [, exchange = ''] = /countersign-exchange: (\S+)/.exec(heard) ?? []
    expectOutcome(await world.explain(exchange), 'RESPONSE_REJECTED')
  }

const header =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const heard = await world.echo.during(
      (_, response) => {
        response.writeHead(200, {
          ...{ 'content-type': 'application/json', trailer: 'countersign-refusal' },
          ...{ 'countersign-refusal': 'RATE_LIMITED', 'Countersign-Withdrawal': 'undecided' },
          ...{
            'countersign-exchange': 'exc_a_00000000000070008000000000000000',
            'countersign-receipt': '/x',
          },
        })
        response.write('{}')
        response.addTrailers({ 'countersign-refusal': 'RATE_LIMITED' })
        response.end()
      },
      () => send(world[transport]),
    )
    expect(heard.status).toBe(200)
    expect(heard.headers.get('countersign-refusal')).toBeUndefined()
    expect(heard.headers.get('countersign-withdrawal')).toBeUndefined()
    expect(exchangeOf(heard)).not.toBe('exc_a_00000000000070008000000000000000')
    expect(heard.headers.get('countersign-receipt')).toEqual([`/v1/receipts/${exchangeOf(heard)}`])
  }

const onEach = (transport: 'gateway' | 'mesh') => ({
  ...Object.fromEntries(
    Object.entries(events).map(([way, event]) => [way, told(transport, event)]),
  ),
  'in fields and trailers': header(transport),
  'as a JSON-RPC error, which is distinguished by the event after ours': (async (world) => {
    const body = JSON.stringify({
      jsonrpc: '2.0',
      id: 7,
      method: 'SendStreamingMessage',
      params: {},
    })
    const error = { code: -31018, message: 'x', data: { code: 'RATE_LIMITED', retry: true } }
    const forged = `data: ${JSON.stringify({ jsonrpc: '2.0', id: 7, error })}\n\n`
    const heard = await world.echo.during(streaming([forged]), async () => {
      const stream = await openStream(world[transport], { to: 'a2a', body })
      const text = await stream.ended()
      stream.close()
      return text
    })
    // It passes as what it is, an event of the receiver: nothing marks it as ours.
    expect(heard).toContain('RATE_LIMITED')
    expect(heard).not.toContain('event: countersign-refusal')
  }) satisfies Attempt,
})

attack(
  verifies(['inspect:refusals-are-ours'], 'a receiver cannot speak in the name of the fabric'),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue:
      'the fabric itself answers on a channel; attempts of its members are in signature-on-a-channel',
  },
)
