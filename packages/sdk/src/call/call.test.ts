import { join as joinPath } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TestFabric } from '../../../../test/harness/sdk-fabric.ts'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'
import { type Agent, openAgent, RefusedError, verify } from '../index.ts'

const lab = sdkLab()

describe('a call', () => {
  test('arrives signed, is answered countersigned, and has a receipt of both', async () => {
    await lab.echo()
    const reply = await lab.caller.call('pay', { path: '/tasks?urgent=1', json: { invoice: 4411 } })
    expect(await reply.json()).toMatchObject({
      echo: '{"invoice":4411}',
      path: '/tasks',
      from: lab.caller.spiffeId,
      exchange: reply.exchange,
      signed: true,
    })
    const receipt = await reply.receipt()
    expect(receipt).toMatchObject({
      exchange: reply.exchange,
      caller: lab.caller.spiffeId,
      receiver: 'pay',
      request: { by: 'caller' },
      response: { by: 'callee' },
    })
    expect(receipt.request.signature?.covered.get('"@path"')).toBe('/agents/pay/tasks')
    const offline = await verify(receipt.bytes, lab.caller.trust)
    expect(offline.exchange).toBe(reply.exchange)
  })

  test('of the callee has the same receipt', async () => {
    await lab.echo()
    const reply = await lab.caller.call('pay', { body: 'x' })
    const receipt = await lab.callee.receipt(String(reply.exchange))
    expect(receipt.caller).toBe(lab.caller.spiffeId)
  })

  test('without content is signed and receipted as well', async () => {
    await lab.echo()
    const reply = await lab.caller.call('spiffe://acme.test/agent/pay', { path: '/health' })
    expect((await reply.receipt()).response.by).toBe('callee')
  })

  test('that is refused throws the code, the exchange and what to do', async () => {
    await lab.echo()
    lab.fabric.deviations.refuseCall = 'NOT_PERMITTED'
    const error = await lab.caller.call('pay', { body: 'x' }).catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(RefusedError)
    expect(error).toMatchObject({ code: 'NOT_PERMITTED', says: 'policy does not allow this' })
    expect((error as RefusedError).exchange).toMatch(/^exc_/)
    expect((error as RefusedError).next).toContain('policy')
  })

  test('that waits for an approval is made again, for as long as its author allows', async () => {
    await lab.echo()
    lab.fabric.deviations.refuseCall = 'APPROVAL_PENDING'
    const calling = lab.caller.call('pay', { body: 'x', approval: { waitMs: 60_000 } })
    await expect(lab.caller.call('pay', { body: 'y', approval: { waitMs: 1 } })).rejects.toThrow(
      'APPROVAL_PENDING',
    )
    delete lab.fabric.deviations.refuseCall
    expect((await calling).status).toBe(200)
  })

  test('with an unknown refusal code is not retried blindly', async () => {
    await lab.echo()
    lab.fabric.deviations.refuseCall = 'SOMETHING_NEW'
    const error = await lab.caller.call('pay', { body: 'x' }).catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retry: false, mayHaveActed: true })
  })

  test('that cannot be sent as given is refused before anything leaves', async () => {
    await lab.echo()
    const bad = (options: Parameters<Agent['call']>[1], to = 'pay') =>
      faultOf(lab.caller.call(to, options))
    expect(await bad({}, '../pay')).toBe('REQUEST_MALFORMED')
    expect(await bad({}, 'spiffe://other.test/agent/pay')).toBe('REQUEST_MALFORMED')
    expect(await bad({ path: 'tasks' })).toBe('REQUEST_MALFORMED')
    expect(await bad({ path: '/a b' })).toBe('REQUEST_MALFORMED')
    expect(await bad({ headers: { signature: 'sig=:AA==:' } })).toBe('REQUEST_MALFORMED')
    expect(await bad({ headers: { 'countersign-from': 'x' } })).toBe('REQUEST_MALFORMED')
    expect(await bad({ body: new Uint8Array(10 * 1024 * 1024 + 1) })).toBe('REQUEST_TOO_LARGE')
    expect(lab.fabric.responses).toHaveLength(0)
  })

  test('can be abandoned, with the reason of its signal', async () => {
    const { promise: arrived, resolve } = Promise.withResolvers<void>()
    const leaving = new AbortController()
    await lab.serving(async () => {
      resolve()
      await new Promise((wake) => leaving.signal.addEventListener('abort', wake))
      return new Response('late')
    })
    const made = lab.caller.call('pay', { body: 'x', signal: leaving.signal })
    await arrived
    leaving.abort(new Error('enough'))
    await expect(made).rejects.toThrow('enough')
  })

  test('that is a stream does not wait for an approval, since its body cannot be read again', async () => {
    await lab.echo()
    lab.fabric.deviations.refuseCall = 'APPROVAL_PENDING'
    const made = lab.caller.call('pay', { ndjson: [{ n: 0 }], approval: { waitMs: 60_000 } })
    const error = await made.catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'APPROVAL_PENDING', mayHaveActed: false })
    expect((error as RefusedError).next).toContain('with a new body')
  })

  test('states the time that it allows, and ends by itself where the fabric does not', async () => {
    await lab.serving(() => new Promise<Response>(() => undefined))
    const calling = lab.caller.call('pay', { body: 'x', timeoutMs: 50 })
    expect(await faultOf(calling)).toBe('CALL_TIMED_OUT')
    expect(lab.fabric.timeouts).toEqual(['50'])
    await lab.echo()
    const reply = await lab.caller.call('pay', { body: 'x', timeoutMs: 60_000 })
    expect(await reply.text()).toContain('"x"')
    for (const timeoutMs of [0, 1.5, -1, Number.NaN, 100_000_000]) {
      const made = lab.caller.call('pay', { body: 'x', timeoutMs })
      expect(await faultOf(made), String(timeoutMs)).toBe('REQUEST_MALFORMED')
    }
  })

  test('to a fabric that is gone fails as unreachable', async () => {
    const other = await TestFabric.start()
    const dir = joinPath(lab.base, 'orphan')
    const agent = await openAgent({ join: other.join('orphan'), dir })
    lab.open.push(agent)
    await other.stop()
    expect(await faultOf(agent.call('pay', { body: 'x' }))).toBe('FABRIC_UNREACHABLE')
  })
})
