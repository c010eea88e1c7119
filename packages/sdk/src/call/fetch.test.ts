import { describe, expect, test } from 'vitest'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'

const lab = sdkLab()

describe('fetch', () => {
  test('reaches agents by host name and by gateway path, and has receipts', async () => {
    await lab.echo()
    for (const url of ['https://pay.countersign.internal/a', `${lab.fabric.url}/agents/pay/a`]) {
      const response = await lab.caller.fetch(url, { method: 'POST', body: 'hello' })
      expect(response.ok).toBe(true)
      expect(response.url).toBe(url)
      expect(await response.json()).toMatchObject({ echo: 'hello', path: '/a' })
      expect((await lab.caller.receiptOf(response)).request.by).toBe('caller')
    }
  })

  test('goes nowhere but through the fabric', async () => {
    await lab.echo()
    expect(await faultOf(lab.caller.fetch('https://example.com/'))).toBe('REQUEST_MALFORMED')
    expect(await faultOf(lab.caller.fetch(`${lab.fabric.url}/v1/admin`))).toBe('REQUEST_MALFORMED')
  })

  test('gives a refusal as a response', async () => {
    await lab.echo()
    lab.fabric.deviations.refuseCall = 'NOT_PERMITTED'
    const response = await lab.caller.fetch('https://pay.countersign.internal/')
    expect(response.status).toBe(403)
    expect(response.headers.get('countersign-refusal')).toBe('NOT_PERMITTED')
  })

  test('signs the type of an answer in the one form that passes', async () => {
    await lab.servingNode((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json ; charset=utf-8;' })
      response.end('{}')
    })
    const response = await lab.caller.fetch('https://pay.countersign.internal/')
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
  })

  test('streams, and stops the sender when the reader leaves', async () => {
    const { promise: left, resolve } = Promise.withResolvers<void>()
    await lab.servingNode((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: 1\n\n')
      response.once('close', () => resolve())
    })
    const leaving = new AbortController()
    const response = await lab.caller.fetch('https://pay.countersign.internal/', {
      signal: leaving.signal,
    })
    const reader = response.body!.getReader()
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('data: 1\n\n')
    leaving.abort()
    await expect(reader.read()).rejects.toThrow()
    await left
  })
})
