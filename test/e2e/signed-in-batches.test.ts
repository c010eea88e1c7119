import { batchAlgorithm } from '@countersign/protocol'
import { verify } from '@countersign/sdk'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { inBatch } from '../harness/batches.ts'
import { deadline } from '../harness/deadline.ts'
import { field, send } from '../harness/doors.ts'
import { signed } from '../harness/signed.ts'
import { openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

let world: World

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'] })
  await world.connectors.of('echo')
})

afterAll(() => world.close())

const isInBatch = (base: unknown): boolean => String(base).includes(`;alg="${batchAlgorithm}"`)

/**
 * From the loopback of the caller's connector, over that of the receiver. The
 * connections stay open, so that later calls arrive together.
 */
async function ask(): Promise<void> {
  const { port, path } = await world.connectors.loopback('caller', 'echo', '/')
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    ...{ method: 'POST', headers, body: '{"pay":10}' },
  })
  await answer.arrayBuffer()
  expect(answer.status).toBe(200)
}

async function receiptOf(exchange: string) {
  const path = `/v1/receipts/${exchange}`
  const { status, body } = await send(world.control, { method: 'GET', path, body: null })
  expect(status).toBe(200)
  return verify(body, world.caller.trust)
}

test(
  verifies(
    ['countersign:request', 'countersign:response'],
    'connectors sign what arrives together at once, and each receipt verifies by itself',
  ),
  async () => {
    const seen = { request: new Set<string>(), response: new Set<string>() }
    world.fabric.onEntry(({ exchange, facts }) => {
      for (const half of ['request', 'response'] as const) {
        if (isInBatch(facts[`${half}.signature-base`])) seen[half].add(exchange)
      }
    })
    // The system decides how many arrive in one turn of the event loop.
    await vi.waitFor(async () => {
      await Promise.all(Array.from({ length: 24 }, ask))
      expect(seen.request.size).toBeGreaterThan(1)
      expect(seen.response.size).toBeGreaterThan(1)
    }, deadline)
    for (const exchange of new Set([...seen.request, ...seen.response])) {
      const { request, response } = await receiptOf(exchange)
      expect([request.by, response.by]).toEqual(['caller', 'callee'])
    }
  },
)

test(
  verifies(
    ['authenticate:signature'],
    'a batch is signed only for a peer that announced it, and accepted on every transport',
  ),
  async () => {
    for (const door of [world.gateway, world.mesh]) {
      const draft = { to: 'echo' }
      const how = { alg: batchAlgorithm, make: inBatch } as const
      const heard = await send(door, await signed(door, world.caller, draft, how))
      expect([door.transport, heard.status]).toEqual([door.transport, 200])
      if (door.transport === 'gateway') continue
      expect(isInBatch(field(heard, 'signature-input'))).toBe(false)
    }
  },
)
