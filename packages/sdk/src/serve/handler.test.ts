import express from 'express'
import { describe, expect, test } from 'vitest'
import { sdkLab } from '../../../../test/harness/sdk-lab.ts'
import { AgentError, receivedOf } from '../index.ts'

const lab = sdkLab()

describe('an express application', () => {
  test('is served unmodified, countersigned whatever way it answers', async () => {
    const app = express()
    app.use(express.json())
    app.post('/json', (request, response) => {
      response.status(201).json({ got: request.body, from: receivedOf(request)?.from })
    })
    app.get('/pieces', (_, response) => {
      response.write('one ')
      response.write(Buffer.from('two '))
      response.end('three')
    })
    app.get('/empty', (_, response) => {
      response.status(204).end()
    })
    app.get('/events', (_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.write('data: 1\n\n')
      response.end()
    })
    await lab.servingNode(app)
    const posted = await lab.caller.call('pay', { path: '/json', json: { a: 1 } })
    expect(posted.status).toBe(201)
    // Express makes the request another prototype's; who called is known by the object, or not.
    expect(await posted.json()).toEqual({ got: { a: 1 }, from: lab.caller.spiffeId })
    expect((await posted.receipt()).response.by).toBe('callee')
    const pieces = await lab.caller.call('pay', { path: '/pieces' })
    expect(await pieces.text()).toBe('one two three')
    expect((await pieces.receipt()).response.by).toBe('callee')
    const empty = await lab.caller.call('pay', { path: '/empty' })
    expect(empty.status).toBe(204)
    expect((await empty.receipt()).response.by).toBe('callee')
    const missing = await lab.caller.call('pay', { path: '/missing' })
    expect(missing.status).toBe(404)
    expect((await missing.receipt()).response.by).toBe('callee')
    const events = await lab.caller.call('pay', { path: '/events' })
    for await (const event of events.events()) expect(event.data).toBe('1')
    expect((await events.receipt()).response.by).toBe('callee')
  })

  test('that compresses, or answers without end, is cut off and not countersigned', async () => {
    await lab.servingNode(
      (request, response) => {
        if (request.url === '/gzip') {
          response.setHeader('content-encoding', 'gzip')
          response.end('x')
          return
        }
        response.write('x'.repeat(200))
        response.end()
      },
      { bodyBytesMax: 100 },
    )
    await expect(lab.caller.call('pay', { path: '/gzip' })).rejects.toThrow(AgentError)
    await expect(lab.caller.call('pay', { path: '/large' })).rejects.toThrow(AgentError)
    expect(lab.fabric.responses).toHaveLength(0)
  })
})

test('a stream that is read as one message is bounded as one, by `bodyBytesMax`', async () => {
  const read = Promise.withResolvers<unknown>()
  await lab.serving(
    async ({ request }) => {
      await request.text().then(read.resolve, read.reject)
      return Response.json({})
    },
    { bodyBytesMax: 100 },
  )
  const refused = expect(read.promise).rejects.toMatchObject({ code: 'REQUEST_TOO_LARGE' })
  const values = Array.from({ length: 20 }, () => 'x'.repeat(10))
  await lab.caller.call('pay', { ndjson: values }).catch(() => undefined)
  await refused
})
