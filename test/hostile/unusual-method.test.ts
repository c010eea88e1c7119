import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { join } from 'node:path'
import { openAgent } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import type { Place } from '../harness/doors.ts'
import { pemOf, talk } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Requests that Node hands to no request handler, or that ask for another protocol. */
const requests: Readonly<Record<string, string>> = {
  CONNECT: 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n',
  'CONNECT with bytes behind it': 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET / HTTP/1.1\r\n\r\n',
  'a preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  TRACE: 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n',
  'OPTIONS of everything': 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  'a target in absolute form': 'GET http://a/agents/echo/ HTTP/1.1\r\nHost: a\r\n\r\n',
}

/** Of these a server may ignore what it does not know (RFC 9110, sections 7.8 and 10.1.1). */
const offers: Readonly<Record<string, string>> = {
  'an upgrade': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'an unknown expectation': 'GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n',
}

const answered =
  (placeOf: (world: World) => Promise<Place>, isPlain = false): Attempt =>
  async (world) => {
    const { port } = await placeOf(world)
    const credential = isPlain ? null : world.caller.credential()
    for (const [name, request] of Object.entries(requests)) {
      // A listener without TLS speaks HTTP/2 to a client that begins with it.
      if (isPlain && request.startsWith('PRI')) continue
      const before = world.echo.reached.length
      const [heard] = await talk({ port, credential }, [request])
      expect(heard?.status, name).toBeGreaterThanOrEqual(400)
      expect(heard?.status, name).toBeLessThan(500)
      expect(world.echo.reached.length, name).toBe(before)
    }
    for (const [name, request] of Object.entries(offers)) {
      const [heard] = await talk({ port, credential }, [request])
      expect(heard?.status, name).toBeGreaterThanOrEqual(200)
    }
  }

const connectOverHttp2: Attempt = async (world) => {
  const session = connectHttp2(world.fabric.origin, {
    ...pemOf(world.caller.credential()),
    rejectUnauthorized: false,
  })
  const stream = session.request({ ':method': 'CONNECT', ':authority': 'example.com:443' })
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
  expect(headers).toMatchObject({ ':status': 404, 'countersign-refusal': 'OPERATION_UNKNOWN' })
  session.destroy()
}

/** An agent that serves by the SDK; its handler sees none of them. */
const atServingAgent: Attempt = async (world) => {
  await world.agent('tunnelled', ['open'])
  const agent = await openAgent({ dir: join(world.dir, 'tunnelled'), clock: world.clock })
  let served = 0
  const { port } = await agent.serve(() => {
    served += 1
    return new Response('ok')
  })
  try {
    for (const name of ['CONNECT', 'CONNECT with bytes behind it'] as const) {
      const [heard] = await talk({ port, credential: world.caller.credential() }, [
        requests[name] ?? '',
      ])
      expect(heard?.status, name).toBe(405)
    }
    expect(served).toBe(0)
  } finally {
    await agent.close()
  }
}

/** At the connector of the caller: octets that begin like a preface of HTTP/2, and are none. */
const halfPrefaces: Attempt = async (world) => {
  const { port } = await world.connectors.loopback('caller', 'echo', '/')
  const before = world.echo.reached.length
  const prefaces = ['PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n', 'PRI / HTTP/1.1\r\nHost: localhost\r\n\r\n']
  for (const preface of prefaces) {
    // The connector ends the connection, and answers in no form of HTTP/1.1.
    expect(await talk({ port, credential: null }, [preface])).toEqual([])
  }
  const [heard] = await talk({ port, credential: null }, ['PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n'])
  expect(heard?.status).toBeGreaterThanOrEqual(400)
  expect(world.echo.reached.length).toBe(before)
}

attack(
  verifies(
    ['serve:answered@gateway', 'serve:answered@mesh'],
    'a request that only a proxy would serve is answered and not served',
  ),
  {
    gateway: {
      'over HTTP/1.1': answered((world) => world.gateway.place('echo', '/')),
      'CONNECT over HTTP/2': connectOverHttp2,
    },
    mesh: {
      'at the connector of the callee': answered((world) => world.mesh.place('echo', '/')),
      'at the connector of the caller, in half a preface of HTTP/2': halfPrefaces,
      'at the connector of the caller': answered(
        (world) => world.connectors.loopback('caller', 'echo', '/'),
        true,
      ),
      'CONNECT at an agent that serves by the SDK': atServingAgent,
    },
    queue: 'members come in by the gateway',
  },
)
