import { verify } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Attempt } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Draft, send } from '../harness/doors.ts'
import { openMaliciousServer } from '../harness/malicious-server.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { openWorld, type World } from '../harness/world.ts'

// An answer waits a minute for a thread; here none waits at all.
vi.mock(import('../../packages/fabric/src/budgets/waiting-limits.ts'), async (importOriginal) => {
  const { limitWait } = await importOriginal()
  const { overLimit } = await import('../../packages/fabric/src/lib/limits.ts')
  const limit = { name: 'work.answerWaitMs', value: 60_000, unit: 'ms' } as const
  return {
    limitWait(account, end) {
      if (account.isAnswer) queueMicrotask(() => end(overLimit('OUTCOME_UNKNOWN', limit)))
      return limitWait(account, end)
    },
  }
})

const streamsAtOnce = 8
const sse = (value: object): string => `data: ${JSON.stringify(value)}\n\n`
/** Too large to be inspected on the event loop. */
const masked = sse({ text: 'plain words and 4111 '.repeat(20_000) })
/** Too large to be searched for a card there. */
const cardLike = sse({
  a: { b: { c: { supportedInterfaces: 1, url: 'x', skills: 1 } } },
  text: '\\u0041 {}[] '.repeat(40_000),
})

interface End {
  /** Of the stream as it began. */
  readonly exchange: string
  /** The terminal event; null where the stream is whole. */
  readonly told: Readonly<Record<string, unknown>> | null
}

function endOf(text: string): Omit<End, 'exchange'> {
  const from = text.lastIndexOf('event: countersign-refusal')
  if (from < 0) return { told: null }
  const [, told = '{}'] = /data: (.*)/.exec(text.slice(from)) ?? []
  return { told: JSON.parse(told) as Record<string, unknown> }
}

const atDoor =
  (transport: 'gateway' | 'mesh') =>
  async (world: World): Promise<End> => {
    const draft: Draft = { to: 'masked', method: 'GET', body: null }
    const stream = await openStream(world[transport], draft)
    const text = await stream.ended()
    stream.close()
    const exchange = /countersign-exchange: (exc_\w+)/i.exec(text)?.[1] ?? ''
    return { exchange, ...endOf(text) }
  }

/** Straight from a receiver that has no connector to read its answers first. */
async function atLoopback(world: World): Promise<End> {
  const { port, path } = await world.connectors.loopback('caller', 'malicious', '/')
  const answer = await fetch(`http://127.0.0.1:${port}${path}`)
  const exchange = answer.headers.get('countersign-exchange') ?? ''
  return { exchange, ...endOf(await answer.text()) }
}

async function resultOf(world: World, exchange: string): Promise<string> {
  const path = `/v1/receipts/${exchange}`
  const { status, body } = await send(world.control, { method: 'GET', path, body: null })
  expect(`${status} ${status === 200 ? '' : body.toString()}`).toBe('200 ')
  return (await verify(body, world.caller.trust)).result ?? 'none'
}

/** Expects that each caller that receives an unknown outcome has a receipt that states the same. */
async function expectReceipts(world: World, ends: readonly End[]): Promise<void> {
  const cut = ends.filter(({ told }) => told !== null)
  expect(cut.length).toBeGreaterThan(0)
  for (const { told } of cut) {
    expect(told).toMatchObject({
      ...{ code: 'OUTCOME_UNKNOWN', retry: false, mayHaveActed: true },
      limit: 'work.answerWaitMs, 1 min',
    })
    expect(await resultOf(world, String(told?.['exchange']))).toBe('broken')
  }
}

const atOnce = (world: World, open: (world: World) => Promise<End>): Promise<readonly End[]> =>
  Promise.all(Array.from({ length: streamsAtOnce }, () => open(world)))

const unparsed =
  (transport: 'gateway' | 'mesh', event: string): Attempt =>
  async (world) => {
    const open = atDoor(transport)
    const ends = await world.echo.during(streaming([event, event]), () => atOnce(world, open))
    await expectReceipts(world, ends)
    for (const { told, exchange } of ends) {
      if (told === null) expect(await resultOf(world, exchange)).toBe('completed')
    }
  }

const unreadByTheCaller: Attempt = async (world) => {
  let isDirect = false
  const maliciousServer = await openMaliciousServer(
    await world.agent('malicious', ['open']),
    ({ headers }) => {
      isDirect = !Object.hasOwn(headers, 'countersign-exchange')
      return {
        ...{ status: 200, headers: [['content-type', 'text/event-stream']] },
        body: cardLike.repeat(2),
      }
    },
  )
  try {
    // Until the connector knows the receiver's address, the gateway asks in its place.
    await vi.waitFor(async () => {
      await atLoopback(world)
      expect(isDirect).toBe(true)
    }, deadline)
    await expectReceipts(world, await atOnce(world, atLoopback))
  } finally {
    await maliciousServer.close()
  }
}

describe('a stream with an event that no thread reads in time has a receipt that verifies [receipt:whatever-is-recorded]', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld({ receivers: ['echo', 'masked'] })
  })
  afterAll(() => world.close())

  for (const transport of ['gateway', 'mesh'] as const) {
    test(`on the ${transport}: to be inspected`, () => unparsed(transport, masked)(world))
    test(`on the ${transport}: to be searched for a card`, () =>
      unparsed(transport, cardLike)(world))
  }
  test('on the mesh: at the caller’s connector', () => unreadByTheCaller(world))
})
