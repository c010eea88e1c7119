import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createExchangeId, encodeLeaseRequest, type MeshEntry } from '@countersign/protocol'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { expect, inject } from 'vitest'
import { attack, inOwnWorld } from '../harness/attack.ts'
import { draftTo, expectQueueRefused, openHall } from '../harness/channels.ts'
import { ShiftedClock } from '../harness/clock.ts'
import { agentId, type Door, field, refusalOf, send } from '../harness/doors.ts'
import { decidedIn, UNDECIDED } from '../harness/entries.ts'
import { expectRefused } from '../harness/refusals.ts'
import { batchBody } from '../harness/stated-batches.ts'
import { openTestFabric, putPolicies, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const newExchange = () => createExchangeId('a', Date.now(), new Uint8Array(randomBytes(10)))

const intent = (receiver: string, caller = 'caller'): MeshEntry => ({
  ...{ kind: 'intent', exchange: newExchange() },
  facts: {
    ...{ receiver, caller: agentId(caller), transport: 'mesh', protocol: 'http' },
    ...{ operation: 'POST', 'attested.request': 'connector', ...UNDECIDED },
  },
})
const outcome = ({ exchange }: MeshEntry): MeshEntry => ({
  kind: 'outcome',
  exchange,
  facts: { result: 'refused', code: 'OVERLOADED' },
})

/** Records entries as a connector of `agent` does, and returns the indexes that it is given. */
async function record(world: World, agent: Identity, entries: readonly MeshEntry[]) {
  const body = batchBody(agent, await decidedIn(world, entries))
  const heard = await send(world.control, {
    ...{ path: '/v1/mesh/entries', as: agent.credential(), body },
  })
  const indexes: unknown = heard.status === 200 ? JSON.parse(heard.body.toString()) : null
  return { heard, indexes: (indexes as { indexes: (number | null)[] } | null)?.indexes ?? [] }
}

const administered =
  (operator: Identity): World['admin'] =>
  async (operation, args = {}) => {
    const value = { operation, args }
    const answer = await askControl(operator.connection, {
      method: 'POST',
      path: '/v1/admin',
      value,
    })
    return (answer as { readonly result: unknown }).result
  }

const isRecorded = (index: number | null) => index !== null
const bodyBytes = 1024 * 1024

/** Runs `scene` while the receiver keeps `count` requests of the caller without an answer. */
async function whileHeld(
  world: World,
  { door, count }: { readonly door: Door; readonly count: number },
  scene: () => Promise<void>,
): Promise<void> {
  const waiting: (() => void)[] = []
  const hold = (body: Buffer, answer: () => void) =>
    body.includes('hold') ? void waiting.push(answer) : answer()
  const before = world.echo.reached.length
  await world.echo.during(
    ({ body }, response) =>
      hold(body, () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}')),
    async () => {
      const held = Array.from({ length: count }, () => send(door, { body: '"hold"' }))
      await expect.poll(() => world.echo.reached.length).toBe(before + count)
      await scene()
      for (const answer of waiting) answer()
      for (const heard of await Promise.all(held)) expect(heard.status).toBe(200)
    },
  )
}

attack(
  verifies(
    ['record:open-exchanges', 'record:indeterminate'],
    'a caller that leaves exchanges open stops itself, and neither the others nor the next start',
  ),
  {
    gateway: () =>
      inOwnWorld({ limits: { openExchanges: 3 }, receivers: ['echo'] }, (world) =>
        whileHeld(world, { door: world.gateway, count: 3 }, async () => {
          await expectRefused(world, 'gateway', {
            code: 'RATE_LIMITED',
            attempt: async () => {
              const heard = await send(world.gateway)
              expect(field(heard, 'countersign-limit')).toBe('limits.openExchanges, 3')
              expect(Number(field(heard, 'retry-after'))).toBeGreaterThan(0)
              return heard
            },
          })
          const neighbour = await world.agent('neighbour', ['caller'])
          expect((await send(world.gateway, { as: neighbour.credential() })).status).toBe(200)
        }),
      ),
    mesh: {
      'by calls that its connector has under way': () =>
        inOwnWorld({ limits: { openExchanges: 3 }, receivers: ['echo'] }, (world) =>
          whileHeld(world, { door: world.mesh, count: 3 }, async () => {
            // Before delivery, by name and to be tried again: not as if something had gone wrong.
            await expectRefused(world, 'mesh', {
              code: 'RATE_LIMITED',
              attempt: async () => {
                const heard = await send(world.mesh)
                expect(field(heard, 'countersign-limit')).toBe('limits.openExchanges, 3')
                expect(Number(field(heard, 'retry-after'))).toBeGreaterThan(0)
                expect(field(heard, 'countersign-may-have-acted')).toBe('false')
                return heard
              },
            })
          }),
        ),
      'by intents of its connector that nothing closes': () =>
        inOwnWorld({ limits: { openExchanges: 300, bodyBytes }, receivers: [] }, async (world) => {
          const thief = await world.agent('thief', ['caller'])
          const intents = Array.from({ length: 256 }, () => intent('thief'))
          const first = await record(world, thief, intents)
          expect(first.indexes.filter(isRecorded)).toHaveLength(256)
          const more = Array.from({ length: 256 }, () => intent('thief'))
          const second = await record(world, thief, more)
          expect(second.indexes.filter(isRecorded)).toHaveLength(44)
          const { limits } = JSON.parse(second.heard.body.toString()) as { limits: unknown[] }
          const named = second.indexes.map((at) =>
            at === null ? 'limits.openExchanges, 300' : null,
          )
          expect(limits).toEqual(named)
          const third = await record(world, thief, [intent('thief')])
          expect(refusalOf(third.heard)).toBe('RATE_LIMITED')
          expect(field(third.heard, 'countersign-limit')).toBe('limits.openExchanges, 300')
          const honest = await world.agent('honest', ['caller'])
          const own = intent('honest')
          expect((await record(world, honest, [own])).indexes.every(isRecorded)).toBe(true)
          expect((await record(world, honest, [outcome(own)])).indexes.every(isRecorded)).toBe(true)
          const closed = await record(world, thief, intents.slice(0, 2).map(outcome))
          expect(closed.indexes.every(isRecorded)).toBe(true)
          expect((await record(world, thief, [intent('thief')])).indexes.every(isRecorded)).toBe(
            true,
          )
        }),
      'and then reports how they ended, when that is on record as unknown': () =>
        inOwnWorld({ receivers: [] }, async (world) => {
          const agent = await world.agent('late', ['caller'])
          const old = intent('late')
          await record(world, agent, [old])
          world.clock.advance(3 * 3_600_000)
          const young = intent('late')
          await record(world, agent, [young])
          const ending = async () => (await world.explain(old.exchange)).at(-1)
          await expect.poll(ending).toMatchObject({
            kind: 'indeterminate',
            facts: { reason: 'too-old' },
          })
          const both = await record(world, agent, [outcome(old), outcome(young)])
          expect(both.indexes.map(isRecorded)).toEqual([false, true])
          expect(await world.explain(old.exchange)).toHaveLength(2)
        }),
      'before the fabric starts again': async () => {
        const dir = mkdtempSync(join(inject('worldsDir'), 'abandoned-'))
        const clock = new ShiftedClock()
        const limits = { requestsPerMinute: 100_000, bodyBytes }
        const order = { kind: 'agent', roles: ['caller'], segment: '', attributes: {} } as const
        const fabric = await openTestFabric(dir, clock, limits)
        const { join: line } = await fabric.invite({ ...order, name: 'thief', ttlSeconds: 900 })
        const own = { dir: join(dir, 'thief'), clock, onFault: () => undefined }
        const thief = await openIdentity({ ...own, join: line })
        const first = { ...order, kind: 'user', name: 'operator', roles: ['operator'] } as const
        const { join: invitation } = await fabric.invite({ ...first, ttlSeconds: 900 })
        const asked = { ...own, dir: join(dir, 'operator') }
        const operator = await openIdentity({ ...asked, join: invitation })
        const entries = Array.from({ length: 1024 }, () => intent('thief', 'thief'))
        const admin = administered(operator)
        await putPolicies(admin)
        const decided = await decidedIn({ admin }, entries)
        for (let at = 0; at < decided.length; at += 256) {
          const response = await thief.connection.request({
            ...{ method: 'POST', path: '/v1/mesh/entries', repeatable: false, headers: [] },
            body: batchBody(thief, decided.slice(at, at + 256)),
          })
          expect(response.status).toBe(200)
          response.discard()
        }
        thief.close()
        operator.close()
        await fabric.close(0)
        const again = await openTestFabric(dir, clock, limits)
        const { join: anew } = await again.invite({ ...first, ttlSeconds: 900 })
        const next = await openIdentity({ ...own, dir: join(dir, 'operator-again'), join: anew })
        expect(await administered(next)('ledger.check')).toMatchObject({ unclosed: 1 })
        next.close()
        await again.close(0)
        rmSync(dir, { recursive: true, force: true })
      },
    },
    queue: () =>
      inOwnWorld({ limits: { openExchanges: 3 }, receivers: [] }, async (world) => {
        const { name, members } = await openHall(world)
        const body = encodeLeaseRequest({ group: 'g', count: 1, leaseMs: 30_000, waitMs: 25_000 })
        const ask = (as = world.caller) =>
          send(world.control, draftTo(name, 'leases', { body, as: as.credential() }))
        const heard = await Promise.race(Array.from({ length: 4 }, () => ask()))
        expect(field(heard, 'countersign-limit')).toBe('limits.openExchanges, 3')
        await expectQueueRefused(world, heard, 'RATE_LIMITED')
        const listener = members[1]
        const now = encodeLeaseRequest({ group: 'g', count: 1, leaseMs: 30_000, waitMs: 0 })
        const draft = draftTo(name, 'leases', { body: now, as: listener?.credential() ?? null })
        expect((await send(world.control, draft)).status).toBe(200)
      }),
  },
)
