import { parseLimitText } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Attempt, attack, worldOfFile } from '../harness/attack.ts'
import { type Door, field, type Place, refusalOf, send } from '../harness/doors.ts'
import type { Answering } from '../harness/echo.ts'
import { sendHalf, type Unfinished } from '../harness/half-sent.ts'
import { openMaliciousServer } from '../harness/malicious-server.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { type OpenStream, openStream } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const bodyBytes = 65_536
const inWorld = worldOfFile({
  limits: { bodyBytes, responseMemoryBytes: 1024 * 1024 },
  receivers: ['echo', 'other'],
})
const calls = 40

/** Answers well, except where it is asked to hoard: then it never ends what it begins. */
const hoarding =
  (type: string, begun: Uint8Array | string): Answering =>
  (reached, response) => {
    if (!reached.url.endsWith('/hoard')) {
      response.writeHead(200, { 'content-type': 'application/json' })
      return void response.end('{}')
    }
    response.writeHead(200, { 'content-type': type })
    response.write(begun)
  }

/** Resolves once so many have been answered. */
async function firstOf(open: readonly Unfinished[], many: number): Promise<Unfinished> {
  const answered: Unfinished[] = []
  await new Promise<void>((resolve) => {
    for (const each of open) {
      void each.answer().then(() => {
        if (answered.push(each) >= many) resolve()
      })
    }
  })
  const [first] = answered
  if (first === undefined) throw new Error('no answer')
  return first
}

const stalled = (bytes: number) => hoarding('application/json', Buffer.alloc(bytes - 1, 0x20))

interface Hoard {
  readonly credential: Parameters<typeof sendHalf>[1]['credential']
  readonly calls: number
  /** Number of calls that have to be refused. */
  readonly refused: number
  readonly limit: RegExp
}

/** A refusal of either kind: before anything was delivered, or after it. */
async function expectShare(
  world: World,
  place: Place,
  { credential, calls: count, refused, limit }: Hoard,
): Promise<void> {
  const open: Unfinished[] = []
  const whole = { length: 2, sent: Buffer.from('{}'), credential }
  try {
    for (let i = 0; i < count; i++) open.push(await sendHalf(place, whole))
    const heard = (await firstOf(open, refused)).heard()
    if (heard === null) throw new Error('refused without an answer')
    const code = refusalOf(heard)
    expect(['OUTCOME_UNKNOWN', 'OVERLOADED']).toContain(code)
    expect(parseLimitText(field(heard, 'countersign-limit') ?? '')).toMatch(limit)
    expect(field(heard, 'countersign-may-have-acted')).toBe(String(code === 'OUTCOME_UNKNOWN'))
    const last = (await world.explain(exchangeOf(heard))).at(-1)
    if (last !== undefined) expect(last.facts).toMatchObject({ code })
  } finally {
    for (const each of open) each.close()
  }
}

/** A quarter of 1 MiB is for one receiver: four answers of 64 KiB. */
const asOneReceiver: Attempt = () =>
  inWorld(async (world) => {
    await world.echo.during(stalled(bodyBytes), async () => {
      const open: Unfinished[] = []
      const place = await world.gateway.place('echo', '/hoard')
      const half = { length: 2, sent: Buffer.from('{}'), credential: world.caller.credential() }
      for (let i = 0; i < calls; i++) open.push(await sendHalf(place, half))
      const heard = (await firstOf(open, calls - 4)).heard()
      if (heard === null) throw new Error('refused without an answer')
      expect(parseLimitText(field(heard, 'countersign-limit') ?? '')).toMatch(
        /^limits\.responseMemoryBytes, 256 KiB per receiver$/,
      )
      // Others are not touched, of the same receiver as little as of another one.
      expect((await send(world.gateway, { to: 'other' })).status).toBe(200)
      for (const each of open) each.close()
    })
    await vanished(world)
  })

/** Nothing stays on the account of what is over. */
async function vanished(world: World): Promise<void> {
  await world.echo.during(hoarding('application/json', ''), async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(world.gateway)))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  })
}

const lines = 'a: 1\n'.repeat(12_000)

/** An event that never ends costs what it occupies, however it is cut into lines. */
const asEvents =
  (transport: 'gateway', begun: string): Attempt =>
  () =>
    inWorld(async (world) => {
      const door: Door = world[transport]
      await world.echo.during(hoarding('text/event-stream', begun), async () => {
        const open: OpenStream[] = []
        for (let i = 0; i < 12; i++) open.push(await openStream(door, { path: '/hoard' }))
        const ended = open.map((each) => each.ended())
        const heard = await Promise.any(ended)
        expect(heard).toMatch(/event: countersign-refusal|countersign-refusal: OVERLOADED/)
        expect(heard).toMatch(/"code":"(?:OUTCOME_UNKNOWN|OVERLOADED)"/)
        expect(heard).toMatch(/limits\.responseMemoryBytes, 256 KiB per receiver/)
        expect((await send(door, { to: 'other' })).status).toBe(200)
        for (const each of open) each.close()
      })
      await vanished(world)
    })

const connectorBody = 4 * 1024 * 1024

const half = /^mesh\.responseMemoryBytes, 32 MiB per (?:caller|receiver)$/

const inMeshWorld = worldOfFile({ receivers: ['echo', 'other'] })

/** 64 MiB at each side of a connector: half of it for one caller is eight answers. */
const atCallee: Attempt = () =>
  inMeshWorld(async (world) => {
    const greedy = await world.agent('greedy', ['caller'])
    const credential = greedy.credential()
    const place = await world.mesh.place('echo', '/hoard')
    await world.echo.during(stalled(connectorBody), async () => {
      await expectShare(world, place, { credential, calls: 12, refused: 4, limit: half })
      expect((await send(world.mesh)).status).toBe(200)
    })
  })

/** Half of it for one receiver, which answers without a connector of ours. */
const atCaller: Attempt = () =>
  inMeshWorld(async (world) => {
    const hoarder = await world.agent('hoarder', ['open'])
    await world.agent('greedy', ['caller'])
    const maliciousServer = await openMaliciousServer(hoarder, () => ({
      status: 200,
      headers: [['content-type', 'application/json']],
      body: Buffer.alloc(connectorBody - 1, 0x20),
      isEndless: true,
    }))
    try {
      const { connectors } = world
      const place = await connectors.loopback('greedy', 'hoarder', '/')
      await expectShare(world, place, { credential: null, calls: 12, refused: 4, limit: half })
      // The share is that of its receiver: the same caller reaches others.
      const other = await connectors.loopback('greedy', 'other', '/')
      const whole = { length: 2, sent: Buffer.from('{}'), credential: null }
      const answered = await sendHalf(other, whole)
      expect((await answered.answer())?.status).toBe(200)
      answered.close()
    } finally {
      await maliciousServer.close()
    }
  })

attack(
  verifies(
    ['operate:answer-memory', 'deliver:unknown-outcome'],
    'a receiver that never ends its answers loses its own, not those of another',
  ),
  {
    gateway: {
      'as stalled answers': asOneReceiver,
      'as events of many lines': asEvents('gateway', lines),
      'as events of one line': asEvents('gateway', `data: ${'x'.repeat(60_000)}`),
      'as events of comments': asEvents('gateway', ':\n'.repeat(16_000)),
    },
    mesh: {
      'at the callee’s side': atCallee,
      'at the caller’s side': atCaller,
    },
    queue: 'the fabric itself answers on a channel',
  },
)
