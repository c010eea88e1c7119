import { parseLimitText, type RefusalCode } from '@countersign/protocol'
import { RefusedError } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { GATEWAY_WIRE } from '../../packages/fabric/src/transports/gateway/wire.ts'
import { MESH_WIRE } from '../../packages/fabric/src/transports/mesh/wire.ts'
import type { Attempt } from './attack.ts'
import { deadline } from './deadline.ts'
import { type Door, type Draft, field, refusalOf, send } from './doors.ts'
import type { Heard } from './raw-http.ts'
import type { ExplainedEntry, World } from './world.ts'

export type DraftOf = (world: World, door: Door) => Draft | Promise<Draft>

/** An attack that is one request: refused with `code`, on record, and unseen by the receiver. */
export function refused(
  transport: Door['transport'],
  code: RefusalCode,
  draftOf: DraftOf,
): Attempt {
  return async (world) => {
    const door = world[transport]
    const draft = await draftOf(world, door)
    await expectRefused(world, transport, { code, attempt: () => send(door, draft) })
  }
}

/** The same request at the gateway and at the receiver's connector. */
export function refusedOnBoth(
  code: RefusalCode,
  draftOf: DraftOf,
): { readonly gateway: Attempt; readonly mesh: Attempt } {
  return { gateway: refused('gateway', code, draftOf), mesh: refused('mesh', code, draftOf) }
}

/** Several variants of one attack, each at the gateway and at the receiver's connector. */
export function eachRefusedOnBoth(
  code: RefusalCode,
  drafts: Readonly<Record<string, DraftOf | Draft>>,
): Record<'gateway' | 'mesh', Record<string, Attempt>> {
  const attempts = (transport: Door['transport']): Record<string, Attempt> =>
    Object.fromEntries(
      Object.entries(drafts).map(([way, draft]) => {
        const draftOf = typeof draft === 'function' ? draft : () => draft
        return [way, refused(transport, code, draftOf)]
      }),
    )
  return { gateway: attempts('gateway'), mesh: attempts('mesh') }
}

export interface ExpectedRefusal {
  readonly code: RefusalCode
  readonly attempt: () => Promise<Heard>
}

export async function expectRefused(
  world: World,
  transport: Door['transport'],
  { code, attempt }: ExpectedRefusal,
): Promise<void> {
  const before = world.echo.reached.length
  const heard = await attempt()
  expectHeard(heard, transport, code)
  expect(world.echo.reached.slice(before)).toEqual([])
  const entries = await world.explain(exchangeOf(heard))
  expect(entries.map(({ kind, facts }) => [kind, facts['code']])).toEqual([['refusal', code]])
}

/** As `expectRefused`, for requests of the SDK: it throws the refusal that it receives. */
export async function expectRefusal(
  world: World,
  code: RefusalCode,
  ask: () => Promise<unknown>,
): Promise<void> {
  const heard: unknown = await ask().then(
    () => null,
    (error: unknown) => error,
  )
  if (!(heard instanceof RefusedError)) throw new Error(`no refusal, but ${String(heard)}`)
  expect(heard.code).toBe(code)
  const entries = await world.explain(heard.exchange ?? '')
  expect(entries.map(({ kind, facts }) => [kind, facts['code']])).toEqual([['refusal', code]])
}

/** The receiver acted, and its response was withheld: the outcome states why. */
export async function expectAnswerRefused(
  world: World,
  transport: Door['transport'],
  { code, attempt }: ExpectedRefusal,
): Promise<void> {
  const heard = await attempt()
  expectHeard(heard, transport, code)
  expectOutcome(await world.explain(exchangeOf(heard)), code)
}

export function expectOutcome(entries: readonly ExplainedEntry[], code: RefusalCode): void {
  expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
  expect(entries.at(-1)?.facts).toMatchObject({ code })
}

/** Expects the attacker's response: the documented status and code, and nothing of the reason. */
export function expectHeard(heard: Heard, transport: Door['transport'], code: RefusalCode): void {
  expect({ refusal: refusalOf(heard), body: heard.body.toString() }).toMatchObject({
    refusal: code,
  })
  const wire = transport === 'gateway' ? GATEWAY_WIRE : MESH_WIRE
  expect(heard.status).toBe(spokenStatus(heard, code) ?? wire[code].status)
  if (code === 'MESSAGE_TOO_LARGE') expectLimit(heard)
}

/** Codes of JSON-RPC, A2A and MCP themselves, which also carry a refusal of the fabric. */
const ownCodes: readonly unknown[] = [-32_601, -32_602, -32_001]

/**
 * The status of a refusal for which the protocol of its request has an error: JSON-RPC carries it
 * in the body alone. Without a body, the status must not end a session that goes on: 404 does so in
 * MCP.
 */
function spokenStatus({ body, status }: Heard, code: RefusalCode): number | null {
  if (code !== 'OPERATION_UNKNOWN' && code !== 'RECEIVER_UNKNOWN') return null
  const text = body.toString()
  if (!text.startsWith('{"jsonrpc"')) return status === 400 ? 400 : null
  const { error } = JSON.parse(text) as { readonly error?: { readonly code: unknown } }
  if (ownCodes.includes(error?.code)) return 200
  expect(code).toBe('RECEIVER_UNKNOWN')
  return null
}

/** A caller that is over a limit receives its name and value, in the header and in the body. */
function expectLimit(heard: Heard): void {
  const limit = field(heard, 'countersign-limit') ?? ''
  expect(parseLimitText(limit)).toBe(limit)
  const told = JSON.parse(heard.body.toString()) as {
    readonly limit?: string
    readonly error?: { readonly data: { readonly limit?: string } }
  }
  expect(told.error?.data.limit ?? told.limit).toBe(limit)
}

export function exchangeOf(heard: Heard): string {
  const exchange = field(heard, 'countersign-exchange')
  if (exchange === null) throw new Error('the answer names no exchange')
  return exchange
}

/** The id of the approval that a call waits for. */
export function approvalOf(heard: Heard): string {
  const id = /^(apr_[0-9a-f]{32});/.exec(field(heard, 'countersign-approval') ?? '')?.[1]
  if (id === undefined) throw new Error(`the answer names no approval: ${heard.body.toString()}`)
  return id
}

/** Asks until the answer is a refusal, which a change that has to travel brings about. */
export async function untilRefused(ask: () => Promise<Heard>): Promise<void> {
  // A connector that does not know yet what the fabric knows is refused its record: UNDECIDED.
  const notYet = [null, 'UNDECIDED']
  await vi.waitFor(async () => expect(notYet).not.toContain(refusalOf(await ask())), deadline)
}

/** As `refused`, for requests to the fabric itself. */
export function refusedByFabric(
  code: RefusalCode,
  draftOf: (world: World) => Draft | Promise<Draft>,
): Attempt {
  return async (world) => {
    const draft = await draftOf(world)
    await expectRefused(world, 'gateway', { code, attempt: () => send(world.control, draft) })
  }
}
