import { REFUSALS, type RefusalCode, verifyReceipt } from '@countersign/protocol'
import { expect, vi } from 'vitest'
import {
  boundExchange,
  isBoundTo,
} from '../../packages/fabric/src/transports/mesh/bound-exchange.ts'
import { MESH_WIRE } from '../../packages/fabric/src/transports/mesh/wire.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { agentId, field, refusalOf, send } from '../harness/doors.ts'
import { newExchange } from '../harness/entries.ts'
import { type MaliciousAnswer, openMaliciousServer } from '../harness/malicious-server.ts'
import { type Heard, talk } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const body = '{"pay":1000}'
const codes = Object.keys(REFUSALS) as RefusalCode[]

/** Through the caller's own connector, straight to the endpoint that the receiver registered. */
async function throughLoopback(world: World, to: string, sent: string = body): Promise<Heard> {
  const { port, authority, path } = await world.connectors.loopback('caller', to, '/')
  const lines = [`POST ${path} HTTP/1.1`, `Host: ${authority}`, 'Content-Type: application/json']
  const bytes = `${lines.join('\r\n')}\r\nContent-Length: ${sent.length}\r\n\r\n${sent}`
  const [heard] = await talk({ port, credential: null }, [bytes])
  if (heard === undefined) throw new Error('the connector hung up')
  return heard
}

type Asking = (world: World, to: string, sent?: string) => Promise<Heard>

const asking: Readonly<Record<'gateway' | 'mesh', Asking>> = {
  gateway: (world, to, sent = body) => send(world.gateway, { to, body: sent }),
  mesh: throughLoopback,
}

/** Each call acts; what it answers is up to `answer`. */
async function withActor(
  world: World,
  {
    name,
    ask,
    isByGateway = false,
  }: { readonly name: string; readonly ask: Asking; readonly isByGateway?: boolean },
  scene: (say: (answer: MaliciousAnswer) => Promise<Heard>, acted: () => number) => Promise<void>,
): Promise<void> {
  let answer: MaliciousAnswer = { status: 200, headers: [json], body: '{}' }
  let acted = 0
  let isForwarded = false
  const maliciousServer = await openMaliciousServer(
    await world.agent(name, ['open']),
    ({ headers }) => {
      acted += 1
      isForwarded = Object.hasOwn(headers, 'countersign-exchange')
      const signature = String(headers['signature'] ?? '')
      const [own, elsewhere] = [name, 'echo'].map((each) => exchangeFor(signature, each))
      const named = answer.headers.map(
        ([field, value]) =>
          [field, value.replace('$own', `${own}`).replace('$elsewhere', `${elsewhere}`)] as const,
      )
      return { ...answer, headers: named }
    },
  )
  try {
    // A connector sends by the gateway until the state contains the endpoint.
    await vi.waitFor(async () => {
      expect((await ask(world, name)).status).toBe(200)
      expect(isForwarded).toBe(ask === asking.gateway || isByGateway)
    }, deadline)
    await scene(
      (next) => {
        answer = next
        acted = 0
        return ask(world, name)
      },
      () => acted,
    )
  } finally {
    await maliciousServer.close()
  }
}

function signatureIn(field: string): Uint8Array {
  const [, signature = ''] = /caller=:([^:]*):/.exec(field) ?? []
  return new Uint8Array(Buffer.from(signature, 'base64'))
}

/** As an honest connector of `receiver` names the exchange of a request with this signature. */
function exchangeFor(field: string, receiver: string): string {
  const signature = signatureIn(field)
  return boundExchange('a', Date.now(), { signature, receiver: agentId(receiver) })
}

const json = ['content-type', 'application/json'] as const

function refusing(code: string, more: MaliciousAnswer['headers'] = []): MaliciousAnswer {
  const wire = Object.hasOwn(MESH_WIRE, code) ? MESH_WIRE[code as RefusalCode] : { status: 503 }
  const headers: MaliciousAnswer['headers'] = [
    ['content-type', 'application/problem+json'],
    ['countersign-refusal', code],
    ['countersign-may-have-acted', 'false'],
    ['countersign-exchange', newExchange()],
    ['retry-after', '1'],
    ['ratelimit', '"agent-route";r=0;t=1'],
    ...more,
  ]
  return { status: wire.status, headers, body: '{"retry":true,"mayHaveActed":false}' }
}

interface Members {
  readonly code: string
  readonly retry: boolean
  readonly mayHaveActed: boolean
  readonly exchange: string
  readonly statedBy?: string
  readonly reconnect?: boolean
}

/**
 * Nothing in the answer invites its caller to send again, and all of it is on record as a
 * statement.
 */
async function expectStatement(world: World, heard: Heard, name: string): Promise<Members> {
  const told = JSON.parse(heard.body.toString()) as Members | { error: { data: Members } }
  const members = 'error' in told ? told.error.data : told
  expect(members).toMatchObject({ retry: false, mayHaveActed: true })
  expect(members.reconnect ?? false).toBe(false)
  expect(field(heard, 'countersign-may-have-acted')).toBe('true')
  for (const name of ['retry-after', 'ratelimit']) expect(heard.headers.has(name)).toBe(false)
  expect(refusalOf(heard)).toBe(members.code)
  expect(members.exchange).toBe(exchangeOf(heard))

  const closing = (await world.explain(exchangeOf(heard))).at(-1)
  expect(closing?.facts['code']).toBe(members.code)
  expect(closing?.facts['progress']).not.toBe('not-sent')
  const path = `/v1/receipts/${exchangeOf(heard)}`
  const kept = await send(world.control, { method: 'GET', path, body: null })
  const { ending } = await verifyReceipt(new Uint8Array(kept.body), world.caller.trust)
  const isUnknown = members.code === 'OUTCOME_UNKNOWN'
  if (members.statedBy === undefined) {
    expect([isUnknown ? 'unknown' : 'withheld', members.code]).toEqual([ending.result, ending.code])
  } else {
    expect(members.statedBy).toBe(agentId(name))
    expect(field(heard, 'countersign-stated-by')).toBe(agentId(name))
    expect(ending).toEqual({ result: 'stated', code: members.code })
  }
  return members
}

const stating = (transport: 'gateway' | 'mesh') => ({
  'by every code': (async (world) => {
    const name = `acts-${transport}`
    const found: Partial<Record<RefusalCode, string>> = {}
    await withActor(world, { name, ask: asking[transport] }, async (say, acted) => {
      for (const code of codes) {
        const heard = await say(refusing(code))
        expect(acted()).toBe(1)
        found[code] = (await expectStatement(world, heard, name)).code
      }
    })
    // A refusal that a receiver may well make reaches its caller under its own name.
    for (const code of [
      'RATE_LIMITED',
      'NOT_PERMITTED',
      'CONTENT_BLOCKED',
      'OVERLOADED',
      'RECEIVER_UNREACHABLE',
      'UNDECIDED',
      'LEDGER_UNAVAILABLE',
    ] as const) {
      expect(found[code]).toBe(code)
    }
    for (const code of ['MESSAGE_REPLAYED', 'OUTCOME_UNKNOWN'] as const) {
      expect(found[code]).toBe('OUTCOME_UNKNOWN')
    }
    for (const code of ['CHANNEL_FULL', 'EPOCH_STALE', 'EXCHANGE_OPEN'] as const) {
      expect(found[code]).toBe('RESPONSE_REJECTED')
    }
  }) satisfies Attempt,
  'by a code that is not one, twice, and with a reason to begin again': (async (world) => {
    const name = `acts-oddly-${transport}`
    await withActor(world, { name, ask: asking[transport] }, async (say) => {
      const odd: readonly MaliciousAnswer[] = [
        refusing('NOTHING_HAPPENED'),
        refusing('__proto__'),
        refusing('rate_limited'),
        refusing('RATE_LIMITED', [['countersign-refusal', 'RECEIVER_UNREACHABLE']]),
        refusing('WITHDRAWN', [['countersign-withdrawal', 'credential-expired']]),
        refusing('RATE_LIMITED', [['countersign-stated-by', agentId('caller')]]),
        { ...refusing('OVERLOADED'), status: 200 },
        {
          ...refusing('OVERLOADED'),
          headers: [
            ['content-type', 'text/event-stream'],
            ['countersign-refusal', 'OVERLOADED'],
          ],
        },
      ]
      for (const answer of odd) await expectStatement(world, await say(answer), name)
    })
  }) satisfies Attempt,
  'to a JSON-RPC call': (async (world) => {
    const name = `acts-rpc-${transport}`
    const call = '{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":{"message":{}}}'
    const ask: Asking = (each, to, sent = call) => asking[transport](each, to, sent)
    const isByGateway = transport === 'gateway'
    await withActor(world, { name, ask, isByGateway }, async (say) => {
      const heard = await say(refusing('RATE_LIMITED'))
      expect(heard.body.toString()).toContain('"jsonrpc":"2.0"')
      await expectStatement(world, heard, name)
    })
  }) satisfies Attempt,
})

/**
 * The record of the statement of each code in a stream: the receiver's statement where it may
 * refuse, the caller's own where it may not. The stream had begun, so that nothing can be retried.
 */
const neverStated: ReadonlySet<RefusalCode> = new Set([
  ...['RATE_LIMITED', 'OVERLOADED', 'EXCHANGE_OPEN', 'RECEIVER_UNREACHABLE', 'EPOCH_STALE'],
  ...['CHANNEL_FULL', 'LEDGER_UNAVAILABLE', 'UNDECIDED', 'APPROVAL_PENDING'],
  ...['EXCHANGE_UNKNOWN', 'LEASE_LOST', 'IDEMPOTENCY_CONFLICT', 'CREDENTIAL_SPENT'],
  ...['EXCHANGE_ERASED', 'EXCHANGE_ELSEWHERE', 'CURSOR_UNKNOWN', 'ENTRIES_PRUNED'],
] as readonly RefusalCode[])
const unknownOutcome: ReadonlySet<RefusalCode> = new Set(['MESSAGE_REPLAYED', 'OUTCOME_UNKNOWN'])

function endingOf(code: RefusalCode) {
  if (neverStated.has(code)) return { code: 'RESPONSE_REJECTED', result: 'cut' }
  if (unknownOutcome.has(code)) return { code: 'OUTCOME_UNKNOWN', result: 'broken' }
  return { code, result: 'stated' }
}

/** A stream had begun, so that its receiver had the request. */
const inStream: Attempt = async (world) => {
  const name = 'acts-and-streams'
  await withActor(world, { name, ask: throughLoopback }, async (say) => {
    for (const code of codes) {
      const event = `event: countersign-refusal\ndata: {"code":"${code}","retry":true,"reason":"credential-expired","exchange":"${newExchange()}"}\n\n`
      const headers = [['content-type', 'text/event-stream'] as const]
      const heard = await say({ status: 200, headers, body: `data: {"a":1}\n\n${event}` })
      const [, data = ''] =
        /event: countersign-refusal\ndata: (.*)\n/.exec(heard.body.toString()) ?? []
      const members = JSON.parse(data) as Members
      expect(members).toMatchObject({ retry: false, mayHaveActed: true })
      expect(members.reconnect ?? false).toBe(false)
      const closing = (await world.explain(members.exchange)).at(-1)
      const { code: shown, result } = endingOf(code)
      expect([code, members.code]).toEqual([code, shown])
      expect(members.statedBy).toBe(result === 'stated' ? agentId(name) : undefined)
      expect(closing?.facts).toMatchObject({ code: shown, receiver: name, result })
    }
  })
}

/**
 * With another exchange named, a reader that asks for the receipt of this call would get that of
 * another, or would learn of one.
 */
const otherExchange: Attempt = async (world) => {
  const name = 'acts-elsewhere'
  await withActor(world, { name, ask: throughLoopback }, async (say) => {
    const other = exchangeOf(await send(world.gateway))
    // The receiver can determine the exchange that it would have to name.
    const twice: MaliciousAnswer['headers'] = [
      ['countersign-exchange', '$own'],
      ['countersign-exchange', other],
    ]
    const named: readonly MaliciousAnswer['headers'][] = [
      [['countersign-exchange', other]],
      [['countersign-exchange', newExchange()]],
      // As the connector of another receiver would name it, which was shown the same signature.
      [['countersign-exchange', '$elsewhere']],
      [['countersign-receipt', `/v1/receipts/${other}`]],
      [
        ['countersign-exchange', newExchange()],
        ['countersign-receipt', `/v1/receipts/${other}`],
      ],
      twice,
      [
        ['countersign-exchange', '$own'],
        ['countersign-receipt', `/v1/receipts/${other}`],
      ],
    ]
    const good = await say({
      ...{ status: 200, body: '{}' },
      headers: [json, ['countersign-exchange', '$own']],
    })
    expect([good.status, refusalOf(good)]).toEqual([200, null])
    for (const headers of named) {
      for (const type of ['application/json', 'text/event-stream']) {
        const text = type === 'application/json' ? '{}' : 'data: {}\n\n'
        const all = [['content-type', type] as const, ...headers]
        const heard = await say({ status: 200, headers: all, body: text })
        expect(refusalOf(heard)).toBe('RESPONSE_REJECTED')
        expect(exchangeOf(heard)).not.toBe(other)
        const closing = (await world.explain(exchangeOf(heard))).at(-1)
        expect(closing?.facts).toMatchObject({ result: 'withheld', receiver: name })
      }
    }
  })
}

/**
 * The refusal of a receiver that the request was not signed for is not on record under its
 * signature.
 */
const shownElsewhere: Attempt = async (world) => {
  const thief = await world.agent('shows-around', ['open', 'caller'])
  const statuses: (number | string | null)[] = []
  const exchanges: string[] = []
  let acted = 0
  const maliciousServer = await openMaliciousServer(thief, async ({ url, headers, body: sent }) => {
    // The first ones can come by the gateway, which signs itself.
    if (Object.hasOwn(headers, 'countersign-exchange'))
      return { status: 200, headers: [json], body }
    acted += 1
    const kept = ['countersign-to', 'content-digest', 'signature-input', 'signature']
    const heard = await send(world.mesh, {
      ...{ to: 'echo', as: thief.credential(), path: url, body: sent },
      headers: kept.flatMap((each) => {
        const value = headers[each]
        return value === undefined ? [] : [[each, String(value)] as const]
      }),
    })
    statuses.push(heard.status, refusalOf(heard))
    const exchange = exchangeOf(heard)
    exchanges.push(exchange)
    const signature = signatureIn(String(headers['signature']))
    for (const receiver of [agentId('echo'), agentId('shows-around')]) {
      if (isBoundTo(exchange, { signature, receiver })) statuses.push(`bound to ${receiver}`)
    }
    return { status: 200, headers: [json, ['countersign-exchange', exchange]], body: '{"ok":true}' }
  })
  try {
    const heard = await vi.waitFor(async () => {
      const answer = await throughLoopback(world, 'shows-around')
      expect(acted).toBeGreaterThan(0)
      return answer
    }, deadline)
    expect(statuses).toEqual([401, 'SIGNATURE_REJECTED'])
    expect(refusalOf(heard)).toBe('RESPONSE_REJECTED')
    expect(exchanges).not.toContain(exchangeOf(heard))
    const closing = (await world.explain(exchangeOf(heard))).at(-1)
    expect(closing?.facts).toMatchObject({ result: 'withheld', receiver: 'shows-around' })
  } finally {
    await maliciousServer.close()
  }
}

attack(
  verifies(
    ['deliver:unknown-outcome'],
    'a receiver that acts and then states a refusal does not have its caller send again',
  ),
  {
    gateway: stating('gateway'),
    mesh: {
      ...stating('mesh'),
      'in an event of a stream': inStream,
      'under an exchange of another call': otherExchange,
      'under the refusal of another receiver that was shown the request': shownElsewhere,
    },
    queue: 'the fabric is the receiver: nobody else answers on a channel',
  },
)
