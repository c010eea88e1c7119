import { parseLeaf, parsePackedBatch, utf8 } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import {
  type FabricRequest,
  type OwnConnector,
  withOwnConnector,
} from '../harness/own-connector.ts'
import { type Heard, talk } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { ExplainedEntry, World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** The fault of a batch of entries between a connector and the fabric. */
type Fault = (
  honest: FabricRequest,
  order: Parameters<FabricRequest>[0],
) => ReturnType<FabricRequest>

const reset = () => Promise.reject(new Error('ECONNRESET'))
const answering = (status: number): Fault => {
  return () => Promise.resolve({ status, body: utf8('{"code":"LEDGER_UNAVAILABLE"}') })
}

const faults = {
  'the connection breaks before it arrives': reset,
  'the answer is lost': (honest, order) => honest(order).then(reset),
  'the fabric cannot write it': answering(503),
  'the fabric does not take it': answering(403),
} as const satisfies Readonly<Record<string, Fault>>

interface Faulty extends OwnConnector {
  /** The kinds of the entries of each batch that was sent. */
  readonly sent: readonly (readonly string[])[]
  /** From now on, that many batches with entries of one of these kinds meet the fault. */
  fail(kinds: readonly ExplainedEntry['kind'][], fault: Fault, times?: number): void
}

async function withFaults(world: World, scene: (faulty: Faulty) => Promise<void>): Promise<void> {
  const sent: string[][] = []
  let met: { kinds: readonly string[]; fault: Fault; left: number } | null = null
  const change =
    (honest: FabricRequest): FabricRequest =>
    (order) => {
      if (order.path !== '/v1/mesh/entries') return honest(order)
      const { entries } = parsePackedBatch(order.body ?? new Uint8Array(0))
      const kinds = entries.map(({ leaf }) => parseLeaf(leaf).kind)
      sent.push(kinds)
      if (met === null || met.left === 0) return honest(order)
      if (!kinds.some((kind) => met?.kinds.includes(kind))) return honest(order)
      met.left -= 1
      return met.fault(honest, order)
    }
  await withOwnConnector(world, { name: newName('faulty'), change }, async (own) => {
    // It knows the state of the fabric, and its record is whole.
    expect((await send(own.direct)).status).toBe(200)
    sent.length = 0
    const fail: Faulty['fail'] = (kinds, fault, left = Number.POSITIVE_INFINITY) => {
      met = { kinds, fault, left }
    }
    await scene({ ...own, sent, fail })
  })
}

async function kindsOf(world: World, heard: Heard): Promise<readonly string[]> {
  const entries = await world.explain(exchangeOf(heard)).catch(() => [])
  return entries.map(({ kind }) => kind)
}

/** A call with a body of its own, and how often that reached the receiver. */
async function call(world: World, { direct }: Faulty) {
  const body = JSON.stringify({ pay: newName('order') })
  const heard = await send(direct, { body })
  const isOwn = (each: { readonly body: Buffer }) => each.body.toString() === body
  return { heard, reached: world.echo.reached.filter(isOwn).length }
}

function expectNothingDone(heard: Heard, codes: readonly string[]): void {
  expect(codes).toContain(refusalOf(heard))
  expect(heard.status).toBe(503)
  expect(field(heard, 'countersign-may-have-acted')).toBe('false')
  expect(JSON.parse(heard.body.toString())).toMatchObject({ retry: true, mayHaveActed: false })
}

function expectUnknown(heard: Heard): void {
  expect(refusalOf(heard)).toBe('OUTCOME_UNKNOWN')
  expect(field(heard, 'countersign-may-have-acted')).toBe('true')
  expect(heard.headers.has('retry-after')).toBe(false)
  expect(JSON.parse(heard.body.toString())).toMatchObject({ retry: false, mayHaveActed: true })
}

/** An intent that is not on record, or not known to be, is not delivered. */
const beforeDelivery =
  (fault: Fault, { isLost = false }: { readonly isLost?: boolean } = {}): Attempt =>
  (world) =>
    withFaults(world, async (faulty) => {
      faulty.fail(['intent'], fault)
      const one = await call(world, faulty)
      expect(one.reached).toBe(0)
      // The refusal is on record, or, where the response to the intent was lost, the intent.
      expectNothingDone(one.heard, [isLost ? 'LEDGER_UNAVAILABLE' : 'UNDECIDED'])
      expect(await kindsOf(world, one.heard)).toEqual([isLost ? 'intent' : 'refusal'])
      faulty.fail(['intent', 'refusal'], fault)
      const none = await call(world, faulty)
      expect(none.reached).toBe(0)
      expectNothingDone(none.heard, ['LEDGER_UNAVAILABLE'])
      faulty.fail([], fault)
      expect((await call(world, faulty)).heard.status).toBe(200)
    })

/** Each of them costs a pause of the connector, so that they go on at once. */
const sentAgain: Attempt = (world) => {
  const { 'the fabric does not take it': _, ...passing } = faults
  return Promise.all(
    Object.entries(passing).map(([name, fault]) =>
      withFaults(world, async (faulty) => {
        faulty.fail(['outcome'], fault, 1)
        const { heard, reached } = await call(world, faulty)
        expect([heard.status, reached], name).toEqual([200, 1])
        expect(faulty.sent.flat(), name).toEqual(['intent', 'outcome', 'outcome'])
        expect(await kindsOf(world, heard), name).toEqual(['intent', 'outcome'])
      }),
    ),
  ).then(() => undefined)
}

const notTaken = faults['the fabric does not take it']

const unrecordedOutcome: Attempt = (world) =>
  withFaults(world, async (faulty) => {
    faulty.fail(['outcome'], notTaken)
    const { heard, reached } = await call(world, faulty)
    expect(reached).toBe(1)
    expectUnknown(heard)
    expect(heard.body.toString()).not.toContain('pay')
    expect(await kindsOf(world, heard)).toEqual(['intent'])
  })

const unrecordedStream: Attempt = (world) =>
  withFaults(world, async (faulty) => {
    faulty.fail(['outcome'], notTaken)
    const heard = await world.echo.during(
      (_, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.end('data: 1\n\n')
      },
      () => send(faulty.direct, { headers: [['accept', 'text/event-stream']] }),
    )
    const last = heard.body.toString().trimEnd().split('\n\n').at(-1) ?? ''
    expect(last).toContain('event: countersign')
    expect(JSON.parse(/^data: (.*)$/m.exec(last)?.[1] ?? '{}')).toMatchObject({
      ...{ code: 'OUTCOME_UNKNOWN', retry: false, mayHaveActed: true },
    })
  })

/** The caller's own connector records how its agent's calls were refused. */
async function atLoopback({ connector }: Faulty, path: string): Promise<Heard> {
  const { host, port } = new URL(connector.loopbackUrl)
  const lines = [`POST ${path} HTTP/1.1`, `Host: ${host}`, 'Content-Type: application/json']
  const bytes = `${lines.join('\r\n')}\r\nContent-Length: 2\r\n\r\n{}`
  const [heard] = await talk({ port: Number(port), credential: null }, [bytes])
  if (heard === undefined) throw new Error('the connector hung up')
  return heard
}

const atCaller =
  (fault: Fault): Attempt =>
  (world) =>
    withFaults(world, async (faulty) => {
      faulty.fail(['refusal'], fault)
      expectNothingDone(await atLoopback(faulty, '/no-such-agent/'), ['LEDGER_UNAVAILABLE'])
      const unknown = await world.echo.during(
        (_, response) => response.destroy(),
        () => atLoopback(faulty, '/echo/'),
      )
      expectUnknown(unknown)
    })

attack(
  verifies(
    ['record:ledger-failure', 'deliver:unknown-outcome'],
    'a message of which the record is lost is neither delivered nor reported as undelivered',
  ),
  {
    mesh: {
      ...Object.fromEntries(
        Object.entries(faults).map(([name, fault]) => [
          `an intent: ${name}`,
          beforeDelivery(fault, { isLost: name === 'the answer is lost' }),
        ]),
      ),
      'an outcome that is sent again': sentAgain,
      'an outcome that the fabric does not take': unrecordedOutcome,
      'the end of a stream that the fabric does not take': unrecordedStream,
      ...Object.fromEntries(
        Object.entries(faults).map(([name, fault]) => [
          `a refusal at the caller’s connector: ${name}`,
          atCaller(fault),
        ]),
      ),
    },
    gateway: 'the fabric’s own ledger: packages/fabric/src/pipeline/enforce.test.ts',
    queue: 'the fabric’s own ledger: test/engines/administration-faults.test.ts',
  },
)
