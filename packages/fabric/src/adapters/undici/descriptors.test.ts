import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { OutOfSpaceError } from '../../lib/upstream-error.ts'
import { Descriptors } from './descriptors.ts'
import { undiciUpstream } from './upstream.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** Opens a receiver that answers on command. */
async function openReceiver() {
  const answers: (() => void)[] = []
  const server = createServer((_, response) => {
    answers.push(() => response.end('ok'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, answers }
}

const request = () => ({
  ...{ method: 'GET', path: '/', headers: [], body: new Uint8Array(0) },
  ...{ signal: new AbortController().signal, still: () => null, owner: 'a' },
  account: { take: () => undefined, give: () => undefined } as never,
})

test('connections to all receivers together are bounded, and a closed one makes room', async () => {
  const upstream = undiciUpstream({
    tlsFor: () => expect.unreachable('no receiver proves an identity'),
    ...{ now: Date.now, connectTimeoutMs: 5_000, headersTimeoutMs: 60_000 },
    ...{ connectionsPerEndpointMax: 64, connectionsMax: 2 },
  })
  closing.push(() => upstream.close())
  const [a, b, c] = [await openReceiver(), await openReceiver(), await openReceiver()]
  const to = ({ url }: { readonly url: string }) =>
    upstream.request({ url, spiffeId: null }, request())
  const first = [to(a), to(b)]
  for (const each of first) each.catch(() => undefined)
  await expect.poll(() => a.answers.length + b.answers.length).toBe(2)
  const refused = await to(c).catch((cause: unknown) => cause)
  expect(refused).toBeInstanceOf(OutOfSpaceError)
  expect(refused).toMatchObject({
    refusal: { code: 'OVERLOADED', limit: 'upstream.openConnections, 2' },
  })
  for (const answer of a.answers) answer()
  expect((await first[0])?.status).toBe(200)
  // The receiver closes the idle connection.
  closing.splice(1, 1)[0]?.()
  await expect
    .poll(() => {
      to(c).catch(() => undefined)
      return c.answers.length
    })
    .toBeGreaterThan(0)
})

test.each(['EMFILE', 'ENFILE'])(
  '%s is for want of descriptors, and no receiver is to blame',
  (code) => {
    const descriptors = new Descriptors(null)
    const outcomes: unknown[] = []
    const connect = descriptors.bound(
      (_, done) => done(Object.assign(new Error(`connect ${code}`), { code }), null),
      'a receiver',
    )
    connect({} as Parameters<typeof connect>[0], (...[fault]) => void outcomes.push(fault))
    expect(outcomes[0]).toBeInstanceOf(OutOfSpaceError)
    expect(outcomes[0]).toMatchObject({ refusal: { code: 'OVERLOADED' } })
    expect(String(outcomes[0])).toContain('upstream.openConnections')
  },
)

test('a connection that failed leaves its place', () => {
  const descriptors = new Descriptors(1)
  const faults: unknown[] = []
  const connect = descriptors.bound(
    (_, done) => done(new Error('connect ECONNREFUSED'), null),
    'a receiver',
  )
  for (let at = 0; at < 3; at++)
    connect({} as Parameters<typeof connect>[0], (...[fault]) => void faults.push(fault?.message))
  expect(faults).toEqual(Array.from({ length: 3 }, () => 'connect ECONNREFUSED'))
})

test('one receiver gets no more connections than are left for others', () => {
  const descriptors = new Descriptors(8)
  const sockets: EventEmitter[] = []
  const connect = (receiver: string): string => {
    let outcome = 'open'
    const bounded = descriptors.bound((_, done) => {
      const socket = Object.assign(new EventEmitter(), { destroyed: false })
      sockets.push(socket)
      done(null, socket as unknown as Socket)
    }, receiver)
    bounded({} as Parameters<typeof bounded>[0], (...[fault]) => {
      if (fault !== null) outcome = fault.name
    })
    return outcome
  }
  const opened = (receiver: string): number =>
    Array.from({ length: 8 }, () => connect(receiver)).filter((outcome) => outcome === 'open')
      .length
  expect([opened('a'), opened('b'), opened('c'), opened('d')]).toEqual([4, 2, 1, 1])
  expect(opened('e')).toBe(0)
  for (const socket of sockets.splice(0, 4)) socket.emit('close')
  expect(opened('e')).toBe(2)
})
