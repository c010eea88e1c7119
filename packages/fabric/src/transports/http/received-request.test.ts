import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { admitAnonymous, admitCaller } from '../../budgets/admission.ts'
import { BodyBudget, bodyOverheadBytes, waitingBytes } from '../../budgets/body-budget.ts'
import { giveBackGarbage } from '../../lib/heap.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Identified } from '../../pipeline/authenticate.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { ArrivingBody } from './arriving-body.ts'
import { type NodeRequest, type ReceivedRequest, receiveRequest } from './received-request.ts'

const bytesMax = 1_000_000
const admitted = { bodyBytesMax: 10_000, address: '192.0.2.1' }

function budgetOf(options: Partial<ConstructorParameters<typeof BodyBudget>[0]> = {}): BodyBudget {
  return new BodyBudget({
    name: 'limits.requestMemoryBytes',
    totalBytesMax: bytesMax,
    identityBytesMax: bytesMax,
    addressBytesMax: bytesMax,
    floorBytes: 0,
    timeoutMs: 60_000,
    now: () => 0,
    ...options,
  })
}

/**
 * A request whose body arrives as the test sets it; the head identifies its sender unless refused.
 */
function arriving(
  budget = budgetOf(),
  refused: Refusal | null = null,
  rawHeaders: readonly string[] = ['host', 'a.test'],
  admission = () => admitAnonymous({ ...admitted, budget }),
) {
  const request = new EventEmitter() as EventEmitter & { resumed: boolean }
  Object.assign(request, {
    method: 'POST',
    url: '/',
    headers: {},
    rawHeaders,
    httpVersion: '1.1',
    resumed: false,
    resume: () => {
      request.resumed = true
    },
  })
  const nobody = { certificateChain: null, bearer: null, apiKey: null }
  const body = new ArrivingBody(request as unknown as NodeRequest)
  const received = receiveRequest(request as unknown as NodeRequest, body, {
    present: () => nobody,
    admit: async () => refused ?? { reserved: admission(), identified: null },
  })
  return { request, received, body }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

function sendByByte(request: EventEmitter, count: number): readonly WeakRef<Buffer>[] {
  return Array.from({ length: count }, () => {
    const chunk = Buffer.alloc(1)
    request.emit('data', chunk)
    return new WeakRef(chunk)
  })
}

test('a body that comes byte by byte takes up its bytes, not a buffer for each', async () => {
  const { request, received } = arriving()
  await turn()
  const chunks = sendByByte(request, 5000)
  // A weak reference holds what it points to until the turn that made it is over.
  await turn()
  await giveBackGarbage()
  expect(chunks.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(10)
  request.emit('end')
  const { body } = (await received) as ReceivedRequest
  expect(body).toHaveLength(5000)
  expect(body.buffer.byteLength).toBeLessThanOrEqual(10_000)
})

test('a large head counts as long as its request, and a small one as part of what each counts for', async () => {
  const budget = budgetOf()
  arriving(budget)
  await turn()
  expect(budget.totalBytes).toBe(4_096)
  const large = arriving(budget, null, ['host', 'a.test', 'x-a', 'x'.repeat(30_000)])
  await turn()
  expect(budget.totalBytes).toBeGreaterThan(34_000)
  large.request.emit('end')
  const { release } = (await large.received) as ReceivedRequest
  expect(budget.totalBytes).toBeGreaterThan(34_000)
  release()
  expect(budget.totalBytes).toBe(4_096)
})

test('a request counts for what it occupies until another limit counts it', async () => {
  const budget = budgetOf()
  const caller = { kind: 'agent', name: 'billing' }
  const identified = { caller } as unknown as Exchange<Identified>
  const admission = () => admitCaller(identified, { ...admitted, budget })
  const small = arriving(budget, null, ['host', 'a.test'], admission)
  const large = arriving(budget, null, ['host', 'a.test', 'x-a', 'x'.repeat(30_000)], admission)
  await turn()
  expect(budget.totalBytes).toBe(2 * waitingBytes)
  sendByByte(small.request, 100)
  for (const { request } of [small, large]) request.emit('end')
  const [first, second] = await Promise.all([small.received, large.received])
  expect(budget.totalBytes).toBe(2 * waitingBytes + 100)
  // The body and what is next to it stay, and so does the head.
  for (const each of [first, first]) (each as ReceivedRequest).begun()
  expect(budget.totalBytes).toBe(waitingBytes + bodyOverheadBytes + 100)
  ;(second as ReceivedRequest).begun()
  expect(budget.totalBytes).toBeGreaterThan(30_000 + bodyOverheadBytes + 100)
  expect(budget.totalBytes).toBeLessThan(waitingBytes)
  for (const each of [first, second]) (each as ReceivedRequest).release()
  ;(second as ReceivedRequest).begun()
  expect(budget.totalBytes).toBe(0)
})

test('a request that is evicted for its head holds nothing of its body', async () => {
  const budget = budgetOf({ identityBytesMax: 20_000 })
  const large = arriving(budget, null, ['host', 'a.test', 'x-a', 'x'.repeat(30_000)])
  await turn()
  expect(await large.received).toMatchObject({ fault: { code: 'OVERLOADED' } })
  expect(large.request.listenerCount('data')).toBe(0)
  expect(large.request.resumed).toBe(true)
  expect(budget.totalBytes).toBe(0)
})

test('a body beyond the limit is refused while it still arrives', async () => {
  const { request, received } = arriving()
  await turn()
  sendByByte(request, 10_001)
  expect(await received).toMatchObject({ fault: { code: 'MESSAGE_TOO_LARGE' }, refused: null })
})

test('no byte is read of a request with a head that identifies no caller', async () => {
  const budget = budgetOf()
  const missing = new Refusal('CREDENTIAL_MISSING', 'nothing presented')
  const { request, received } = arriving(budget, missing)
  expect(await received).toMatchObject({ refused: { code: 'CREDENTIAL_MISSING' }, fault: null })
  expect(request.listenerCount('data')).toBe(0)
  expect(budget.totalBytes).toBe(0)
})

test('a body that broke off before it was read is not taken for a whole one', async () => {
  const { request, received } = arriving()
  request.emit('aborted')
  request.emit('close')
  request.emit('end')
  await expect(received).rejects.toThrow('broke off')
})

test('a body is accounted for until its exchange has ended', async () => {
  const budget = budgetOf()
  const { request, received } = arriving(budget)
  await turn()
  sendByByte(request, 100)
  const held = budget.totalBytes
  expect(held).toBeGreaterThan(100)
  request.emit('end')
  const { release } = (await received) as ReceivedRequest
  expect(budget.totalBytes).toBe(held)
  release()
  release()
  expect(budget.totalBytes).toBe(0)
})

test('a body that breaks off leaves nothing on the account', async () => {
  const budget = budgetOf()
  const { request, received } = arriving(budget)
  await turn()
  sendByByte(request, 100)
  request.emit('close')
  await expect(received).rejects.toThrow('broke off')
  expect(budget.totalBytes).toBe(0)
})

test('a body that is evicted is refused with the limit, and the rest is discarded', async () => {
  const budget = budgetOf({ totalBytesMax: 4096 + 50 })
  const { request, received } = arriving(budget)
  await turn()
  sendByByte(request, 100)
  expect(await received).toMatchObject({ fault: { code: 'OVERLOADED' } })
  expect(request.resumed).toBe(true)
  expect(budget.totalBytes).toBe(0)
})

test('a body that takes too long is refused', async () => {
  const { received } = arriving(budgetOf({ timeoutMs: 1 }))
  expect(await received).toMatchObject({
    fault: { code: 'OVERLOADED', limit: 'http.bodyMs, 1 ms' },
  })
})
