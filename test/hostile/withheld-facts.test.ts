import { canonicalJson, isWithholdable, type JsonValue, verifyReceipt } from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { openHall, openSealer, orderOf, publish } from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

interface Document {
  readonly entries: readonly { readonly facts: Readonly<Record<string, JsonValue>> }[]
}

async function receiptOf(world: World, exchange: string): Promise<Document> {
  const path = `/v1/receipts/${exchange}`
  const { body } = await send(world.control, { method: 'GET', path, body: null })
  return JSON.parse(body.toString()) as Document
}

/** The receipt as its holder hands it on without the facts named `<entry>/<name>`. */
function withhold(receipt: Document, hidden: ReadonlySet<string>): Uint8Array {
  const entries = receipt.entries.map((entry, at) => ({
    ...entry,
    facts: Object.fromEntries(
      Object.entries(entry.facts).filter(([name]) => !hidden.has(`${at}/${name}`)),
    ),
  }))
  return Buffer.from(canonicalJson({ ...receipt, entries }))
}

const nameOf = (fact: string): string => fact.slice(2)

async function holds(world: World, exchange: string): Promise<void> {
  const { trust } = world.caller
  const receipt = await receiptOf(world, exchange)
  const whole = await verifyReceipt(withhold(receipt, new Set()), trust)
  const facts = receipt.entries.flatMap(({ facts: each }, at) =>
    Object.keys(each).map((name) => `${at}/${name}`),
  )
  for (const fact of facts.filter((each) => !isWithholdable(nameOf(each)))) {
    const verification = verifyReceipt(withhold(receipt, new Set([fact])), trust)
    await expect(verification, fact).rejects.toMatchObject({ code: 'FACT_WITHHELD' })
  }
  await fc.assert(
    fc.asyncProperty(fc.subarray(facts), async (hidden) => {
      const verification = verifyReceipt(withhold(receipt, new Set(hidden)), trust)
      if (!hidden.every((fact) => isWithholdable(nameOf(fact)))) {
        await expect(verification).rejects.toMatchObject({ code: 'FACT_WITHHELD' })
        return
      }
      const partial = await verification.catch((error: unknown) => error)
      // A signature covers its digest, so that one cannot be withheld without the other.
      if (partial instanceof Error) {
        expect(partial).toMatchObject({ code: 'DIGEST_MISMATCHED' })
        return
      }
      const { entries: _, factsOpened: __, factsWithheld: ___, ...says } = whole
      expect(partial).toMatchObject(says)
      const withheld = (partial as typeof whole).entries.flatMap((entry) => entry.withheld)
      expect(withheld).toEqual(expect.arrayContaining(hidden.map(nameOf)))
    }),
    { numRuns: 40 },
  )
}

const unsigned =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) =>
    holds(world, exchangeOf(await send(world[transport])))

const bySignature =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const door = world[transport]
    await holds(world, exchangeOf(await send(door, await signed(door, world.caller))))
  }

attack(
  verifies(
    ['receipt:disclosure'],
    'no receipt states anything else because a part of it is withheld',
  ),
  {
    gateway: {
      'of a request that was not signed': unsigned('gateway'),
      'of a signed request': bySignature('gateway'),
      'of a refusal': async (world) => {
        await holds(world, exchangeOf(await send(world.gateway, { path: '/x', method: 'PUT' })))
      },
      'without its end, as if it were still open': async (world) => {
        const receipt = await receiptOf(world, exchangeOf(await send(world.gateway)))
        const open = { ...receipt, entries: receipt.entries.slice(0, 1) }
        const bytes = Buffer.from(canonicalJson(open))
        await expect(verifyReceipt(bytes, world.caller.trust)).rejects.toMatchObject({
          code: 'KINDS_DISORDERED',
        })
      },
    },
    mesh: {
      'of a request that was not signed': unsigned('mesh'),
      'of a signed request': bySignature('mesh'),
    },
    queue: async (world) => {
      const { name } = await openHall(world)
      const sealer = await openSealer(world, name, world.caller)
      const heard = await publish(world, name, [sealer.seal(orderOf()).bytes])
      await holds(world, exchangeOf(heard))
    },
  },
)
