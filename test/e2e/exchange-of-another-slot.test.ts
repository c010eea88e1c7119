import { createExchangeId } from '@countersign/protocol'
import type { TlsCredential } from '@countersign/protocol/tls'
import { askControl, askHolder, type Identity } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Fabric } from '../../packages/fabric/src/compose/compose.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { fetchReceipt } from '../../packages/sdk/src/call/receipt.ts'
import { type Door, field, refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { openTestFabric, openWorld, type World } from '../harness/world.ts'

/** Two fabrics on one data folder: the world's has slot `a`, the replica has slot `b`. */
let world: World
let replica: Fabric

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'], replica: true })
  replica = await openTestFabric(world.dir, world.clock, {}, { replica: true })
})
afterAll(async () => {
  await replica.close(0)
  await world.close()
})

const doorTo = ({ origin }: Fabric): Door => ({
  ...{ transport: 'gateway', credential: () => world.caller.credential() },
  place: async (_, path) => {
    const { host: authority, port } = new URL(origin)
    return { authority, port: Number(port), path }
  },
})

/** The agent as it is connected to the replica. */
function atReplica(identity: Identity) {
  return {
    connection: identity.connectionTo(replica.origin),
    connectionTo: (url: string) => identity.connectionTo(url),
    trust: identity.trust,
  }
}

const receiptAt = (fabric: Fabric, exchange: string, as: TlsCredential | null) =>
  send(doorTo(fabric), { method: 'GET', body: null, path: `/v1/receipts/${exchange}`, as })

const unheardOf = (slot: string) => createExchangeId(slot, world.clock.now(), systemRandom(10))

describe('a receipt of an exchange in the log of another replica', () => {
  test('is refused with the name of its holder, which gives it to an end of it', async () => {
    const exchange = exchangeOf(await send(world.gateway, { to: 'echo' }))
    const refused = await receiptAt(replica, exchange, world.caller.credential())
    expect(refused.status).toBe(421)
    expect(refusalOf(refused)).toBe('EXCHANGE_ELSEWHERE')
    expect(JSON.parse(refused.body.toString())).toMatchObject({
      holder: { slot: 'a', address: world.fabric.origin },
    })
    const caller = atReplica(world.caller)
    const receipt = await fetchReceipt(caller, exchange).finally(() => caller.connection.close())
    expect(receipt).toMatchObject({ exchange, caller: world.caller.spiffeId })
  })

  test('is given to no other agent, and shows none whether it exists', async () => {
    const thief = await world.agent('thief', ['caller'])
    const asked = [exchangeOf(await send(world.gateway, { to: 'echo' })), unheardOf('a')]
    for (const exchange of asked) {
      const refused = await receiptAt(replica, exchange, thief.credential())
      expect(refusalOf(refused)).toBe('EXCHANGE_ELSEWHERE')
      const reader = atReplica(thief)
      const fetched = fetchReceipt(reader, exchange).finally(() => reader.connection.close())
      await expect(fetched).rejects.toMatchObject({ code: 'NOT_PERMITTED' })
    }
  })

  test('is not even located for an unauthenticated client', async () => {
    const refused = await receiptAt(replica, unheardOf('a'), null)
    expect(refusalOf(refused)).toBe('CREDENTIAL_MISSING')
    expect(field(refused, 'countersign-holder')).toBeNull()
  })

  test('is unknown under a slot that no process ever took', async () => {
    for (const fabric of [replica, world.fabric]) {
      const exchange = unheardOf('zz')
      const asked = [world.operator, world.caller].map(async (each) =>
        refusalOf(await receiptAt(fabric, exchange, each.credential())),
      )
      expect(await Promise.all(asked)).toEqual(['EXCHANGE_UNKNOWN', 'NOT_PERMITTED'])
    }
  })
})

test('an exchange is explained by the holder of its log, to the operator of each replica', async () => {
  const exchange = exchangeOf(await send(world.gateway, { to: 'echo' }))
  const value = { operation: 'policy.explain', args: { exchange } }
  const ask = { method: 'POST', path: '/v1/admin', value } as const
  const operator = atReplica(world.operator)
  try {
    await expect(askControl(operator.connection, ask)).rejects.toMatchObject({
      ...{ code: 'EXCHANGE_ELSEWHERE', holder: { slot: 'a', address: world.fabric.origin } },
    })
    const explained = await askHolder(operator, (connection) => askControl(connection, ask))
    expect(explained).toMatchObject({ result: { exchange } })
  } finally {
    operator.connection.close()
  }
})

test('an exchange whose log no process holds is elsewhere, and not unknown', async () => {
  const ended = await openTestFabric(world.dir, world.clock, {}, { replica: true })
  await ended.close(0)
  const refused = await receiptAt(replica, unheardOf('c'), world.operator.credential())
  expect(refusalOf(refused)).toBe('EXCHANGE_ELSEWHERE')
  expect(JSON.parse(refused.body.toString())).toMatchObject({
    holder: { slot: 'c', address: null },
  })
})

test('a connector that a load balancer led to another replica receives the state of that one', async () => {
  const { connection } = atReplica(world.caller)
  const ask = (query: string) =>
    askControl(connection, { method: 'GET', path: `/v1/mesh/state?${query}` })
  try {
    const { sequence } = (await ask('after=-1')) as { readonly sequence: number }
    // The replica that the connector came from had counted as far.
    expect(await ask(`after=${sequence}&slot=a`)).toMatchObject({ slot: 'b', sequence })
  } finally {
    connection.close()
  }
})

test('the log of another slot is one redirect away', async () => {
  const ask = (path: string) => send(doorTo(replica), { method: 'GET', body: null, path, as: null })
  const there = await ask('/log/a/checkpoint')
  expect(there.status).toBe(307)
  expect(field(there, 'location')).toBe(`${world.fabric.origin}/log/a/checkpoint`)
  // The first checkpoint of a new log is published a moment after its genesis.
  await expect
    .poll(async () => (await ask('/log/b/checkpoint')).body.toString())
    .toContain('countersign.local/ledger/b')
})
