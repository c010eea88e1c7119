import { utf8 } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'

const lab = sdkLab()

describe('an event stream', () => {
  async function* pieces() {
    yield utf8('data: {"n":1}\n\n')
    // The pieces have to arrive apart for one of them to be dropped.
    await new Promise((wake) => setTimeout(wake, 20))
    yield utf8('data: {"n":2}\n\n')
  }

  async function streaming() {
    await lab.serving(
      () =>
        new Response(pieces() as unknown as BodyInit, {
          headers: { 'content-type': 'text/event-stream' },
        }),
    )
  }

  test('has a countersigned head, and a receipt of the events that arrived', async () => {
    await streaming()
    const reply = await lab.caller.call('pay', { body: 'x' })
    const seen: string[] = []
    for await (const { data } of reply.events()) seen.push(data)
    expect(seen).toEqual(['{"n":1}', '{"n":2}'])
    const receipt = await reply.receipt()
    expect(receipt.response.by).toBe('callee')
    expect(receipt.entries.at(-1)?.facts['result']).toBe('completed')
  })

  test('that the fabric cuts throws its refusal, and the receipt still matches', async () => {
    await streaming()
    lab.fabric.deviations.cutStream = true
    const reply = await lab.caller.call('pay', { body: 'x' })
    const seen: string[] = []
    const reading = (async () => {
      for await (const { data } of reply.events()) seen.push(data)
    })()
    expect(await faultOf(reading)).toBe('WITHDRAWN')
    expect(seen).toHaveLength(2)
    expect((await reply.receipt()).entries.at(-1)?.facts['result']).toBe('cut')
  })

  test('with an event dropped on the way does not match its receipt', async () => {
    await streaming()
    lab.fabric.deviations.passEvent = (chunk) => !chunk.includes('"n":2')
    const reply = await lab.caller.call('pay', { body: 'x' })
    const seen: string[] = []
    for await (const { data } of reply.events()) seen.push(data)
    expect(seen).toEqual(['{"n":1}'])
    expect(await faultOf(reply.receipt())).toBe('RECEIPT_MISMATCHED')
  })
})
