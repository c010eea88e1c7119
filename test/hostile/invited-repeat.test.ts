import { REFUSALS, type RefusalCode } from '@countersign/protocol'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, expect, vi } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { field, type HeaderList, refusalOf, send } from '../harness/doors.ts'
import { type MaliciousAnswer, openMaliciousServer } from '../harness/malicious-server.ts'
import { expectAnswerRefused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** By a standard, or by what clients are seen to do, each has its client send the request again. */
const inviting = [401, 407, 408, 411, 417, 421, 425, 426, 449, 505, 511]
/** Ordinary answers of honest applications. */
const ordinary = [200, 400, 402, 403, 404, 405, 409, 410, 413, 415, 422, 429, 500, 502, 503, 504]
/** Fields by which a client is asked to send again, here or elsewhere. */
const challenges: HeaderList = [
  ['www-authenticate', 'Bearer error="insufficient_scope", scope="all"'],
  ['proxy-authenticate', 'Basic realm="theirs"'],
  ['accept-signature', 'caller=("@method")'],
  ['retry-after', '0'],
  ['alt-svc', 'h2=":443"'],
  ['refresh', '0'],
  ['location', 'https://other.example/'],
  ['dpop-nonce', 'another'],
  ['upgrade', 'h2c'],
]
const json = ['content-type', 'application/json'] as const

function expectNoInvitation({ status, headers }: Pick<Response, 'status'> & Has): void {
  expect(inviting).not.toContain(status)
  for (const [name] of challenges) expect([name, headers.has(name)]).toEqual([name, false])
}

interface Has {
  readonly headers: { has(name: string): boolean }
}

type Transport = 'gateway' | 'mesh'

const byStatus =
  (transport: Transport): Attempt =>
  async (world) => {
    for (const status of inviting) {
      await expectAnswerRefused(world, transport, {
        code: 'RESPONSE_REJECTED',
        attempt: async () => {
          const heard = await world.echo.during(
            (_, response) => {
              response.writeHead(status, [json, ...challenges].flat()).end('{}')
            },
            () => send(world[transport]),
          )
          expectNoInvitation(heard)
          expect(field(heard, 'countersign-may-have-acted')).toBe('true')
          return heard
        },
      })
    }
  }

const byField =
  (transport: Transport): Attempt =>
  async (world) => {
    for (const status of ordinary) {
      const heard = await world.echo.during(
        (_, response) => {
          response.writeHead(status, [json, ...challenges].flat()).end('{"a":1}')
        },
        () => send(world[transport]),
      )
      expect([heard.status, refusalOf(heard), heard.body.toString()]).toEqual([
        status,
        null,
        '{"a":1}',
      ])
      expectNoInvitation(heard)
    }
  }

const codes = Object.keys(REFUSALS) as RefusalCode[]

/**
 * Asks through the caller's own connector, straight to an endpoint that the receiver registered.
 */
async function withStraight(
  world: World,
  scene: (
    say: (answer: MaliciousAnswer) => Promise<Response>,
    acted: () => number,
  ) => Promise<void>,
): Promise<void> {
  const name = newName('invites')
  let answer: MaliciousAnswer = { status: 200, headers: [json], body: '{}' }
  let acted = 0
  let isForwarded = true
  const maliciousServer = await openMaliciousServer(
    await world.agent(name, ['open']),
    ({ headers }) => {
      acted += 1
      isForwarded = Object.hasOwn(headers, 'countersign-exchange')
      return answer
    },
  )
  const { port, path } = await world.connectors.loopback('caller', name, '/')
  const ask = (): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      ...{ method: 'POST', body: '{"pay":100}', headers: { 'content-type': 'application/json' } },
    })
  try {
    await vi.waitFor(async () => {
      await (await ask()).text()
      expect(isForwarded).toBe(false)
    }, deadline)
    await scene(
      (next) => {
        answer = next
        acted = 0
        return ask()
      },
      () => acted,
    )
  } finally {
    await maliciousServer.close()
  }
}

/** `fetch` of Node repeats a POST by itself, or calls it unsent, by status alone. */
const toFetch: Attempt = (world) =>
  withStraight(world, async (say, acted) => {
    for (const status of inviting) {
      const heard = await say({ status, headers: [json, ...challenges], body: '{}' })
      expect([status, acted()]).toEqual([status, 1])
      expect(heard.headers.get('countersign-refusal')).toBe('RESPONSE_REJECTED')
      expect(heard.headers.get('countersign-may-have-acted')).toBe('true')
      expectNoInvitation(heard)
      await heard.text()
    }
    for (const status of ordinary) {
      const heard = await say({ status, headers: [json, ...challenges], body: '{}' })
      expect([heard.status, acted()]).toEqual([status, 1])
      expectNoInvitation(heard)
      await heard.text()
    }
  })

const stating = (code: string): MaliciousAnswer => ({
  ...{ status: 401, body: '{}' },
  headers: [
    ['content-type', 'application/problem+json'],
    ['countersign-refusal', code],
    ...challenges,
  ],
})

const toFetchByStatement: Attempt = (world) =>
  withStraight(world, async (say, acted) => {
    for (const code of codes) {
      const heard = await say(stating(code))
      expect([code, acted()]).toEqual([code, 1])
      expectNoInvitation(heard)
      const problem = (await heard.json()) as { readonly status: number }
      expect(problem.status).toBe(heard.status)
      if (heard.headers.has('countersign-stated-by'))
        expect([code, heard.status]).toEqual([code, 403])
    }
  })

const byStatement: Attempt = async (world) => {
  const name = newName('invites')
  let code = ''
  const maliciousServer = await openMaliciousServer(await world.agent(name, ['open']), () =>
    stating(code),
  )
  try {
    for (code of codes) {
      const heard = await send(world.gateway, { to: name })
      expectNoInvitation(heard)
      if (heard.headers.has('countersign-stated-by'))
        expect([code, heard.status]).toEqual([code, 403])
    }
  } finally {
    await maliciousServer.close()
  }
}

const dispatcher = new Agent({ connect: { rejectUnauthorized: false } })
afterAll(() => dispatcher.close())
const overTls = ((url: string | URL, init?: object) =>
  undiciFetch(url, { ...init, dispatcher })) as unknown as typeof fetch

/** The receiver of one tool call answers it with `refusal`, after it has acted. */
function mcpAnswer(body: Buffer, refusal: () => MaliciousAnswer | null): MaliciousAnswer {
  const { id, method } = JSON.parse(body.toString() || '{}') as { id?: number; method?: string }
  const result = (value: object): MaliciousAnswer => ({
    ...{ status: 200, headers: [json] },
    body: JSON.stringify({ jsonrpc: '2.0', id, result: value }),
  })
  if (method === 'initialize') {
    const serverInfo = { name: 'paying', version: '1' }
    return result({ protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo })
  }
  if (method === 'tools/call') return refusal() ?? result({ content: [] })
  return { status: method === undefined ? 405 : 202, headers: [], body: '' }
}

/**
 * The official client gets another token where it meets a 401, whatever stands there, and sends
 * again.
 */
const toOfficialClient =
  (refusal: MaliciousAnswer): Attempt =>
  async (world) => {
    const name = newName('invites')
    let paid = 0
    let fetched = 0
    const maliciousServer = await openMaliciousServer(
      await world.agent(name, ['open']),
      ({ body }) =>
        mcpAnswer(body, () => {
          paid += 1
          return paid === 1 ? refusal : null
        }),
    )
    const client = new Client({ name: 'caller', version: '1' })
    try {
      const transport = new StreamableHTTPClientTransport(
        new URL(`${world.fabric.origin}/agents/${name}/`),
        {
          fetch: overTls,
          authProvider: {
            token: () => tokenFor(world.caller),
            onUnauthorized: () => {
              fetched += 1
              return Promise.resolve()
            },
          },
        },
      )
      await client.connect(transport)
      const calling = client.callTool({ name: 'pay', arguments: {} })
      await expect(calling).rejects.toThrow()
      expect([paid, fetched]).toEqual([1, 0])
    } finally {
      await client.close()
      await maliciousServer.close()
    }
  }

attack(
  verifies(
    ['deliver:unknown-outcome', 'deliver:no-silent-repeat'],
    'a receiver that acted has no client send its request again, by a status or by a challenge',
  ),
  {
    gateway: {
      'by a status': byStatus('gateway'),
      'by a field of an ordinary answer': byField('gateway'),
      'by a refusal that it states': byStatement,
      'by a 401 to the official client': toOfficialClient({
        ...{ status: 401, headers: [json, ...challenges], body: '{}' },
      }),
      'by a stated 401 to the official client': toOfficialClient(stating('CREDENTIAL_EXPIRED')),
    },
    mesh: {
      'by a status': byStatus('mesh'),
      'by a field of an ordinary answer': byField('mesh'),
      'by a status, to fetch': toFetch,
      'by a refusal that it states, to fetch': toFetchByStatement,
    },
    queue: 'the fabric is the receiver',
  },
)
