import { type SlotTrust, toBase64, utf8 } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'

const lab = sdkLab()

/** Leaves the agent with a trust that lists a log of an earlier time only. */
function forgetLog(): () => void {
  const { trust } = lab.caller
  const pinned = trust.slots as SlotTrust[]
  const [first] = pinned
  if (first === undefined) throw new Error('the trust lists a log')
  pinned[0] = { ...first, slot: 'z', origin: 'earlier.test' }
  return () => void (pinned[0] = first)
}

test('a receipt of a log that the pinned key does not certify is not believed', async () => {
  await lab.echo()
  lab.fabric.deviations.trust = (document) => {
    const [slot] = document['slots'] as { signature: string }[]
    if (slot !== undefined) slot.signature = toBase64(new Uint8Array(64))
  }
  const remember = forgetLog()
  try {
    const reply = await lab.caller.call('pay', { body: 'x' })
    expect(await faultOf(reply.receipt())).toBe('RECEIPT_REJECTED')
  } finally {
    remember()
  }
})

test('a receipt of a log that was added later is verified by the pinned key', async () => {
  await lab.echo()
  const remember = forgetLog()
  try {
    const reply = await lab.caller.call('pay', { body: 'x' })
    expect((await reply.receipt()).caller).toBe(lab.caller.spiffeId)
  } finally {
    remember()
  }
})

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
