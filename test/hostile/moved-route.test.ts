import { expect, vi } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import { openHeldServer } from '../harness/held-server.ts'
import { type MaliciousAnswer, openMaliciousServer } from '../harness/malicious-server.ts'
import { watchingPools } from '../harness/pools.ts'
import type { Heard } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Connections to one receiver that one caller gets. */
const sockets = 32
const json = ['content-type', 'application/json'] as const
const done: MaliciousAnswer = { status: 200, headers: [json], body: '{}' }

async function expectNotSent(world: World, heard: Heard): Promise<void> {
  expect(refusalOf(heard)).toBe('RECEIVER_UNREACHABLE')
  expect(field(heard, 'countersign-may-have-acted')).toBe('false')
  const last = (await world.explain(exchangeOf(heard))).at(-1)
  expect(last?.facts).toMatchObject({ code: 'RECEIVER_UNREACHABLE' })
}

type Change = (world: World, name: string, url: string) => Promise<unknown>

/** An operator changes the route while a call waits for a connection to where it led. */
const atGateway =
  (change: Change): Attempt =>
  async (world) => {
    const old = await openHeldServer()
    const name = newName('moved')
    await world.agent(name, ['open'])
    await world.admin('route.put', { name, upstream: old.url, protocol: 'http' })
    const ask = (body: string) => send(world.gateway, { to: name, body })
    await watchingPools(async (waiting) => {
      const others = Array.from({ length: sockets }, () => ask('"busy"'))
      await vi.waitFor(() => expect(old.held).toHaveLength(sockets), deadline)
      const late = ask('"late"')
      await vi.waitFor(() => expect(waiting()).toBeGreaterThan(0), deadline)
      await change(world, name, old.url)
      old.onRequest = (_, response) => response.end('{}')
      for (const response of old.held) response.end('{}')
      await expectNotSent(world, await late)
      await Promise.all(others)
    })
    expect(old.bodies).not.toContain('"late"')
    await old.close()
  }

/** The receiver itself moves, with a call of a connector on its way to where it was. */
const atConnector: Attempt = async (world) => {
  const name = newName('moved')
  const identity = await world.agent(name, ['open'])
  const bodies: string[] = []
  let isStraight = false
  let isHeld = false
  const held: (() => void)[] = []
  const old = await openMaliciousServer(identity, ({ headers, body }) => {
    isStraight = !Object.hasOwn(headers, 'countersign-exchange')
    bodies.push(body.toString())
    return isHeld ? new Promise((resolve) => held.push(() => resolve(done))) : done
  })
  const { port, path } = await world.connectors.loopback('caller', name, '/')
  const ask = (body: string, signal: AbortSignal | null = null) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      ...{ method: 'POST', body, headers: { 'content-type': 'application/json' }, signal },
    })
  const askUntilAborted = (): AbortController => {
    const leaving = new AbortController()
    ask('"news"', leaving.signal).catch(() => undefined)
    return leaving
  }
  await vi.waitFor(async () => {
    await (await ask('"first"')).text()
    expect(isStraight).toBe(true)
  }, deadline)
  isHeld = true
  await watchingPools(async (waiting) => {
    const others = Array.from({ length: sockets }, () => ask('"busy"'))
    await vi.waitFor(() => expect(held).toHaveLength(sockets), deadline)
    const late = ask('"late"')
    await vi.waitFor(() => expect(waiting()).toBeGreaterThan(0), deadline)
    let isHeard = false
    const moved = await openMaliciousServer(identity, ({ headers }) => {
      isHeard ||= !Object.hasOwn(headers, 'countersign-exchange')
      return done
    })
    // Until the connector has the new state, these wait for a connection to the old address, too.
    const asking: AbortController[] = []
    await vi.waitFor(() => {
      if (!isHeard) asking.push(askUntilAborted())
      if (asking.length > sockets) asking.shift()?.abort()
      expect(isHeard).toBe(true)
    }, deadline)
    for (const each of asking) each.abort()
    isHeld = false
    for (const answer of held) answer()
    const heard = await late
    expect(heard.headers.get('countersign-refusal')).toBe('RECEIVER_UNREACHABLE')
    expect(heard.headers.get('countersign-may-have-acted')).toBe('false')
    await Promise.all(others)
    await moved.close()
  })
  expect(bodies).not.toContain('"late"')
  await old.stop()
}

attack(
  verifies(
    ['authorize:every-delivery'],
    'a call that waited does not go to where its route led before it was moved or deleted',
  ),
  {
    gateway: {
      'by deletion': atGateway((world, name) => world.admin('route.delete', { name })),
      'by another address': atGateway((world, name) =>
        world.admin('route.put', { name, upstream: world.echo.url, protocol: 'http' }),
      ),
      'by another protocol': atGateway((world, name, upstream) =>
        world.admin('route.put', { name, upstream, protocol: 'a2a' }),
      ),
    },
    mesh: { 'by the receiver, at the connector of its caller': atConnector },
    queue: 'a channel has no address',
  },
)
