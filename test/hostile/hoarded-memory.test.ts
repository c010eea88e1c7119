import { join } from 'node:path'
import { openAgent } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { type Place, refusalOf, send } from '../harness/doors.ts'
import { sendHalf, type Unfinished } from '../harness/half-sent.ts'
import type { Heard } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const bodyBytes = 65_536
const limits = { bodyBytes, requestMemoryBytes: 1024 * 1024 }
const most = Buffer.alloc(bodyBytes - 1, 0x20)
const bodies = 40

async function hoard(count: number, open: () => Promise<Unfinished>): Promise<Unfinished[]> {
  const hoarded: Unfinished[] = []
  for (let i = 0; i < count; i++) hoarded.push(await open())
  return hoarded
}

/** Resolves once `many` of them have been answered. */
async function refusedOf(hoarded: readonly Unfinished[], many: number): Promise<Unfinished[]> {
  const refused: Unfinished[] = []
  await new Promise<void>((resolve) => {
    for (const each of hoarded) {
      void each.answer().then(() => {
        if (refused.push(each) >= many) resolve()
      })
    }
  })
  return refused
}

/** One of the answers: a reset can overtake that of a peer which still sends. */
async function answerOf(hoarded: readonly Unfinished[], many: number): Promise<Heard> {
  const refused = await refusedOf(hoarded, many)
  const heard = refused.map((each) => each.heard()).find((answer) => answer !== null)
  if (heard === undefined || heard === null) throw new Error('all were evicted without an answer')
  return heard
}

async function inHoard(
  open: () => Promise<Unfinished>,
  scene: (hoarded: readonly Unfinished[]) => Promise<void>,
): Promise<void> {
  const hoarded = await hoard(bodies, open)
  try {
    await scene(hoarded)
  } finally {
    for (const each of hoarded) each.close()
  }
}

/** A certificate of the trust domain does not entitle its holder to occupy the memory of all. */
const byOneAgent: Attempt = () =>
  inOwnWorld({ limits, receivers: ['echo'] }, async (world) => {
    const greedy = await world.agent('greedy', ['caller'])
    const made = (await world.admin('key.create', { agent: 'caller' })) as { key: string }
    const place = await world.gateway.place('echo', '/')
    const half = { length: bodyBytes, sent: most, credential: greedy.credential() }
    await inHoard(
      () => sendHalf(place, half),
      async (hoarded) => {
        // Its share is a quarter of 1 MiB: at most four bodies of 64 KiB less one byte, and
        // overhead.
        const heard = await answerOf(hoarded, bodies - 4)
        expect([heard.status, refusalOf(heard)]).toEqual([503, 'OVERLOADED'])
        expect(heard.headers.get('retry-after')).toEqual(['1'])
        const [entry] = await world.explain(exchangeOf(heard))
        expect(entry?.facts).toMatchObject({ code: 'OVERLOADED', caller: greedy.spiffeId })
        const whole = JSON.stringify('x'.repeat(bodyBytes - 100))
        for (const headers of [[], [['X-Api-Key', made.key]]] as const) {
          const as = headers.length === 0 ? world.caller.credential() : null
          expect((await send(world.gateway, { as, headers, body: whole })).status).toBe(200)
        }
      },
    )
  })

const connectorBody = Buffer.alloc(4 * 1024 * 1024 - 1, 0x20)

/** 64 MiB at each side of a connector, half of it for one identity: seven such bodies. */
const atSideOf =
  (place: (world: World) => Promise<Place>, isLoopback: boolean): Attempt =>
  () =>
    inOwnWorld({ receivers: ['echo'] }, async (world) => {
      const greedy = await world.agent('greedy', ['caller'])
      const credential = isLoopback ? null : greedy.credential()
      const at = await place(world)
      const half = { length: connectorBody.length + 1, sent: connectorBody, credential }
      const hoarded = await hoard(12, () => sendHalf(at, half))
      try {
        const [first] = await refusedOf(hoarded, 12 - 8)
        const heard = first?.heard() ?? null
        if (heard !== null) expect(refusalOf(heard)).toBe('OVERLOADED')
        expect((await send(world.mesh)).status).toBe(200)
      } finally {
        for (const each of hoarded) each.close()
      }
    })

const atConnector = atSideOf((world) => world.mesh.place('echo', '/'), false)
const onLoopback = atSideOf((world) => world.connectors.loopback('greedy', 'echo', '/'), true)

const servedBody = Buffer.alloc(9 * 1024 * 1024, 0x20)

/** 32 MiB for one agent at an agent that serves by the SDK: three such bodies. */
const atServingAgent: Attempt = () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const greedy = await world.agent('greedy', ['caller'])
    await world.agent('serving', ['open'])
    const agent = await openAgent({ dir: join(world.dir, 'serving'), clock: world.clock })
    const { port } = await agent.serve(() => new Response('ok'))
    const place = { port, authority: `127.0.0.1:${port}`, path: '/' }
    const half = { length: servedBody.length + 1, sent: servedBody }
    const hoarded = await hoard(5, () =>
      sendHalf(place, { ...half, credential: greedy.credential() }),
    )
    try {
      const heard = await answerOf(hoarded, 2)
      expect([heard.status, refusalOf(heard)]).toEqual([503, 'OVERLOADED'])
      // Others have room: what is refused here is refused for its missing signature, once read.
      const other = { credential: world.caller.credential(), length: 2, sent: Buffer.from('{}') }
      const whole = await sendHalf(place, other)
      expect(refusalOf((await whole.answer()) ?? heard)).not.toBe('OVERLOADED')
      whole.close()
    } finally {
      for (const each of hoarded) each.close()
      await agent.close()
    }
  })

/** A head that promises a body takes a place and no memory. */
const byHeads: Attempt = () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const greedy = await world.agent('greedy', ['caller'])
    await world.agent('serving', ['open'])
    const agent = await openAgent({ dir: join(world.dir, 'serving'), clock: world.clock })
    const { port } = await agent.serve(() => new Response('ok'))
    const place = { port, authority: `127.0.0.1:${port}`, path: '/' }
    const half = { length: 100, sent: Buffer.alloc(0), credential: greedy.credential() }
    const hoarded = await hoard(260, () => sendHalf(place, half))
    try {
      const heard = await answerOf(hoarded, 260 - 256)
      expect([heard.status, refusalOf(heard)]).toEqual([503, 'RATE_LIMITED'])
      const from = { credential: world.caller.credential(), length: 2, sent: Buffer.from('{}') }
      const whole = await sendHalf(place, from)
      expect(refusalOf((await whole.answer()) ?? heard)).toBe('SIGNATURE_MISSING')
      whole.close()
      expect((await send(world.gateway, { to: 'serving' })).status).toBe(200)
    } finally {
      for (const each of hoarded) each.close()
      await agent.close()
    }
  })

/** A request of two bytes occupies more than its bytes for as long as it waits. */
const bySmallRequests: Attempt = () =>
  inOwnWorld({ limits, receivers: ['echo'] }, async (world) => {
    const greedy = await world.agent('greedy', ['caller'])
    const place = await world.gateway.place('echo', '/')
    const half = { length: 2, sent: Buffer.from('{'), credential: greedy.credential() }
    await inHoard(
      () => sendHalf(place, half),
      async (hoarded) => {
        // Its share is a quarter of 1 MiB: six such requests.
        const heard = await answerOf(hoarded, bodies - 6)
        expect([heard.status, refusalOf(heard)]).toEqual([503, 'OVERLOADED'])
        expect(heard.headers.get('countersign-limit')).toEqual([
          'limits.requestMemoryBytes, 256 KiB per identity',
        ])
        expect((await send(world.gateway)).status).toBe(200)
      },
    )
  })

/** Enrolments have a small budget of their own, per address. */
const byEnrolments: Attempt = () =>
  inOwnWorld({ limits, receivers: ['echo'] }, async (world) => {
    const place = await world.control.place('control', '/v1/enroll')
    const half = { length: 16_384, sent: Buffer.alloc(16_000, 0x20) }
    await inHoard(
      () => sendHalf(place, half),
      async (hoarded) => {
        // 512 KiB for one address: 25 such bodies with their overhead.
        const [first] = await refusedOf(hoarded, bodies - 26)
        const heard = first?.heard() ?? null
        if (heard !== null) expect(refusalOf(heard)).toBe('OVERLOADED')
        expect((await send(world.gateway)).status).toBe(200)
        expect((await world.agent('late')).spiffeId).toContain('/agent/late')
      },
    )
  })

attack(
  verifies(
    ['operate:memory-share'],
    'a client that leaves bodies half sent loses its own requests, not those of another',
  ),
  {
    gateway: {
      'as one agent': byOneAgent,
      'in many small requests': bySmallRequests,
      'with enrolments': byEnrolments,
    },
    mesh: {
      'at the callee’s side': atConnector,
      'at the caller’s side': onLoopback,
      'at an agent that serves by the SDK': atServingAgent,
      'in its places, by heads': byHeads,
    },
    queue: 'members come in by the gateway',
  },
)
