import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { giveBackGarbage } from '../../lib/heap.ts'
import { type Incoming, type NodeRequest, readIncoming } from './incoming.ts'

/** A request whose body comes as the test says. */
function arriving() {
  const request = new EventEmitter()
  Object.assign(request, {
    method: 'POST',
    url: '/',
    rawHeaders: ['host', 'a.test'],
    httpVersion: '1.1',
    readableEnded: false,
  })
  const nobody = { certificateChain: null, bearer: null, apiKey: null }
  const incoming = readIncoming(request as NodeRequest, 10_000, () => nobody)
  return { request, incoming }
}

function sendByByte(request: EventEmitter, count: number): readonly WeakRef<Buffer>[] {
  return Array.from({ length: count }, () => {
    const chunk = Buffer.alloc(1)
    request.emit('data', chunk)
    return new WeakRef(chunk)
  })
}

test('a body that comes byte by byte takes up its bytes, not a buffer for each', async () => {
  const { request, incoming } = arriving()
  const chunks = sendByByte(request, 5000)
  // A weak reference holds what it points to until the turn that made it is over.
  await new Promise((resolve) => setImmediate(resolve))
  await giveBackGarbage()
  expect(chunks.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(10)
  request.emit('end')
  const { body } = (await incoming) as Incoming
  expect(body).toHaveLength(5000)
  expect(body.buffer.byteLength).toBeLessThanOrEqual(10_000)
})

test('a body beyond the limit is refused while it still arrives', async () => {
  const { request, incoming } = arriving()
  sendByByte(request, 10_001)
  expect(await incoming).toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
})
