import { utf8 } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'

const lab = sdkLab()

describe('a receipt is not believed', () => {
  test('when it is of another exchange of the same parties', async () => {
    await lab.echo()
    const first = await lab.caller.call('pay', { body: 'x' })
    const second = await lab.caller.call('pay', { body: 'x' })
    lab.fabric.deviations.receiptOf = () => String(first.exchange)
    expect(await faultOf(second.receipt())).toBe('RECEIPT_MISMATCHED')
  })

  test('when another exchange is passed off under the id of this one', async () => {
    await lab.echo()
    const first = await lab.caller.call('pay', { body: 'x' })
    lab.fabric.deviations.answer = (answer) => {
      answer.headers = answer.headers.map(([name, value]) =>
        name === 'countersign-exchange' ? [name, String(first.exchange)] : [name, value],
      )
    }
    const second = await lab.caller.call('pay', { body: 'x' })
    expect(second.exchange).toBe(first.exchange)
    expect(await faultOf(second.receipt())).toBe('RECEIPT_MISMATCHED')
  })

  test('when the body was changed after it was countersigned', async () => {
    await lab.echo()
    lab.fabric.deviations.answer = (answer) => {
      answer.body = utf8(Buffer.from(answer.body).toString().replace('"x"', '"y"'))
    }
    expect(await faultOf((await lab.caller.call('pay', { body: 'x' })).receipt())).toBe(
      'RECEIPT_MISMATCHED',
    )
  })

  test('when the status was changed', async () => {
    await lab.echo()
    lab.fabric.deviations.answer = (answer) => {
      answer.status = 404
    }
    expect(await faultOf((await lab.caller.call('pay', { body: 'x' })).receipt())).toBe(
      'RECEIPT_MISMATCHED',
    )
  })

  test('when a byte of it was changed, with the fault of the verification as its cause', async () => {
    await lab.echo()
    lab.fabric.deviations.receipt = (bytes) =>
      utf8(Buffer.from(bytes).toString().replace('"pay"', '"bad"'))
    const error = await (await lab.caller.call('pay', { body: 'x' }))
      .receipt()
      .catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'RECEIPT_REJECTED', cause: { code: 'FACT_REJECTED' } })
  })

  test('when the signature of the caller was stripped from the record', async () => {
    await lab.echo()
    lab.fabric.deviations.facts = (facts, kind) => {
      if (kind !== 'intent') return
      for (const name of ['request.signature', 'request.signature-base', 'request.key']) {
        delete facts[name]
      }
      facts['attested.request'] = 'fabric'
    }
    const reply = await lab.caller.call('pay', { body: 'x' })
    // The countersignature still covers a signature that the record no longer has.
    expect(await faultOf(reply.receipt())).toBe('RECEIPT_REJECTED')
  })

  test('when it withholds what was sent', async () => {
    await lab.echo()
    lab.fabric.deviations.facts = (facts, kind) => {
      if (kind === 'outcome') delete facts['response.forwarded-digest']
    }
    expect(await faultOf((await lab.caller.call('pay', { body: 'x' })).receipt())).toBe(
      'RECEIPT_MISMATCHED',
    )
  })
})
