import { verify } from '@countersign/sdk'
import { expect } from 'vitest'
import { fetchReceipt } from '../../packages/sdk/src/call/receipt.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { openHall, openSealer, orderOf, publish } from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

async function receiptOf(world: World, exchange: string): Promise<string> {
  const path = `/v1/receipts/${exchange}`
  return (await send(world.control, { method: 'GET', path, body: null })).body.toString()
}

async function alterEverywhere(world: World, text: string): Promise<void> {
  const { trust } = world.caller
  await verify(Buffer.from(text), trust)
  // Every seventh character is enough here; each single bit is flipped next to the verifier.
  for (let at = 0; at < text.length; at += 7) {
    const other = text[at] === 'A' ? 'B' : 'A'
    const altered = text.slice(0, at) + other + text.slice(at + 1)
    await expect(verify(Buffer.from(altered), trust), `character ${at}`).rejects.toThrow()
  }
}

const alter =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const door = world[transport]
    const heard = await send(door, await signed(door, world.caller))
    await alterEverywhere(world, await receiptOf(world, exchangeOf(heard)))
  }

const swap: Attempt = async (world) => {
  const first = await receiptOf(world, exchangeOf(await send(world.gateway)))
  const second = exchangeOf(await send(world.gateway))
  // A fabric, or an attacker in front of it, that answers with another good receipt.
  const connection = {
    ...world.caller.connection,
    request: () =>
      Promise.resolve({
        status: 200,
        headers: [['content-type', 'application/vnd.countersign.receipt+json']] as const,
        body: (async function* () {
          yield Buffer.from(first)
        })(),
        discard: () => undefined,
      }),
  }
  const misled = Object.create(world.caller, {
    connection: { value: connection },
  }) as typeof world.caller
  await expect(fetchReceipt(misled, second)).rejects.toMatchObject({
    code: expect.stringMatching(/^RECEIPT_/) as string,
  })
}

attack(
  verifies(
    ['receipt:any-bit', 'receipt:offline'],
    'a receipt that was altered, or is another’s, does not verify',
  ),
  {
    gateway: { altered: alter('gateway'), 'of another exchange': swap },
    mesh: { altered: alter('mesh') },
    queue: async (world) => {
      const { name } = await openHall(world)
      const sealer = await openSealer(world, name, world.caller)
      const heard = await publish(world, name, [sealer.seal(orderOf()).bytes])
      await alterEverywhere(world, await receiptOf(world, exchangeOf(heard)))
    },
  },
)
