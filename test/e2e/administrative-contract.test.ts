import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  type AdminArgs,
  type AdminOperation,
  type AdminResult,
  type FollowedEntry,
  parseAdminAnswer,
  ROUTE_DEFAULTS,
} from '@countersign/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { OPERATIONS } from '../../packages/fabric/src/admin/operations.ts'
import { exitCode } from '../../packages/fabric/src/cli/exit-codes.ts'
import { clientOf } from '../../packages/fabric/src/cli/fabric-client.ts'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { fetchReceipt } from '../../packages/sdk/src/call/receipt.ts'
import { settlementOf } from '../harness/acknowledgements.ts'
import {
  draftTo,
  group,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { deadline } from '../harness/deadline.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { approvalOf, exchangeOf } from '../harness/refusals.ts'
import { openWorld, type World } from '../harness/world.ts'

let world: World

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'] })
})
afterAll(() => world.close())
afterEach(() => {
  vi.restoreAllMocks()
})

/**
 * Returns what the contract reads of an answer of the fabric; throws where the answer has more.
 */
async function ask<Name extends AdminOperation>(
  operation: Name,
  args: AdminArgs<Name>,
): Promise<AdminResult<Name>> {
  const result = await world.admin(operation, args)
  const read = parseAdminAnswer(operation, { result })
  expect(read).toEqual(result)
  return read
}

/** A channel with one dead letter, at offset 1. */
async function deadLetterIn(): Promise<string> {
  const { name, members } = await openHall(world)
  const [caller = world.caller, listener = world.caller] = members
  const sealer = await openSealer(world, name, caller)
  await publish(world, name, [sealer.seal(orderOf()).bytes])
  const [frame] = await lease(world, name, listener)
  if (frame === undefined) throw new Error('nothing was leased')
  const body = settlementOf([{ frame, listener, verdict: 'reject', reason: 'unusable' }])
  const draft = draftTo(name, 'settlements', { body })
  const heard = await send(world.control, { ...draft, as: listener.credential() })
  expect(refusalOf(heard)).toBeNull()
  return name
}

const gated = `@id("gated") @approval("of a call to the echo")
permit (principal == Agent::"gated", action == Action::"call", resource);`

let actions = 0

/** The id of an approval that a new call asks for. */
const pendingApproval = async (): Promise<string> => {
  const caller = await world.agent('gated')
  await world.admin('policy.put', { name: 'gated.cedar', text: gated })
  const body = JSON.stringify({ action: ++actions })
  const heard = await send(world.gateway, { to: 'echo', body, as: caller.credential() })
  return approvalOf(heard)
}

const denied = async (): Promise<string> => {
  const body = JSON.stringify({ operation: 'agent.list', args: {} })
  return exchangeOf(await send(world.control, { path: '/v1/admin', body }))
}

/** One or more answers of the running fabric to each operation, none of them empty. */
const checks: { readonly [Name in AdminOperation]: () => Promise<void> } = {
  async status() {
    expect((await ask('status', {})).ledger.size).toBeGreaterThan(0)
  },
  async 'activity.show'() {
    for (let i = 0; i < 3; i++) await send(world.gateway, { to: 'echo' })
    const { edges, found } = await ask('activity.show', { name: 'caller' })
    expect(found).toBe(edges.length)
    const edge = edges.find(({ receiver }) => receiver === 'echo')
    expect(edge).toMatchObject({ caller: 'caller', kind: 'agent' })
    expect(edge?.delivered).toBeGreaterThanOrEqual(3)
    expect(edge?.latency?.longest).toBeGreaterThanOrEqual(edge?.latency?.p50 ?? Infinity)
    // An open console reads it again and again.
    for (let i = 0; i < 5; i++) await ask('activity.show', { window: 'day' })
    const read = (await world.recorded()).filter(
      ({ facts }) => facts['operation'] === 'activity.show',
    )
    expect(read.length).toBe(1)
  },
  async 'agent.list'() {
    const agents = await ask('agent.list', {})
    expect(agents.map(({ name }) => name)).toContain('echo')
  },
  async 'agent.show'() {
    for (let i = 0; i < 20; i++) await denied()
    const { enrolled, signals } = await ask('agent.show', { name: 'caller' })
    expect(enrolled).toBe(true)
    expect(signals.length).toBeGreaterThan(0)
  },
  async 'agent.enroll'() {
    const attributes = { level: 3, team: 'payments', external: true }
    const terms = { kind: 'agent', roles: ['demo'], segment: 'demo', ttlSeconds: 60 } as const
    await ask('agent.enroll', { name: 'newcomer', attributes, ...terms })
    await ask('agent.enroll', { name: 'newcomer' })
  },
  async 'agent.quarantine'() {
    await world.agent('suspect')
    await ask('agent.quarantine', { name: 'suspect', reason: 'a leaked key' })
    expect((await ask('agent.show', { name: 'suspect' })).statusReason).toBe('a leaked key')
  },
  async 'agent.restore'() {
    await world.agent('restored')
    await ask('agent.restore', { name: 'restored', reason: 'a drill' })
  },
  async 'agent.revoke'() {
    await world.agent('thief')
    await ask('agent.revoke', { name: 'thief', reason: 'a leaked key' })
  },
  async 'key.create'() {
    await ask('key.create', { agent: 'holder', scopes: ['echo'], ttlSeconds: 600 })
    await ask('key.create', { agent: 'holder' })
  },
  async 'key.list'() {
    await ask('key.create', { agent: 'listed', scopes: null })
    expect(await ask('key.list', {})).not.toEqual([])
  },
  async 'key.revoke'() {
    const { prefix } = await ask('key.create', { agent: 'ended' })
    expect(await ask('key.revoke', { prefix })).toEqual({ prefix, revoked: true })
  },
  async 'key.rotate'() {
    expect(await ask('key.rotate', { key: 'tokens' })).toMatchObject({ key: 'tokens' })
  },
  async 'backup.make'() {
    const made = await ask('backup.make', { slot: world.fabric.slot })
    expect(made).toMatchObject({ slot: world.fabric.slot, channels: true })
    const folder = join(world.dir, 'data', 'backup', world.fabric.slot, made.folder)
    expect(readdirSync(folder).toSorted()).toEqual(['channel-records.sqlite', 'channels.sqlite'])
    await expect(ask('backup.make', { slot: 'z' })).rejects.toThrow('RECEIVER_UNKNOWN')
  },
  async 'policy.show'() {
    expect((await ask('policy.show', {})).sources).not.toEqual([])
  },
  async 'policy.put'() {
    const name = 'contract.cedar'
    expect(await ask('policy.put', { name, text: 'permit (' })).toMatchObject({ taken: false })
    const text = '@id("never") permit (principal, action, resource) when { false };'
    expect(await ask('policy.put', { name, text })).toMatchObject({ taken: true })
  },
  async 'policy.explain'() {
    const refused = await ask('policy.explain', { exchange: await denied() })
    expect(refused.policy).toHaveProperty('decision.effect', 'deny')
    const draft = { method: 'POST', path: '/', body: '{}' } as const
    const exchange = exchangeOf(await send(world.gateway, { ...draft, to: 'echo' }))
    expect((await ask('policy.explain', { exchange })).policy).toHaveProperty('determining.0')
  },
  async 'approval.list'() {
    const id = await pendingApproval()
    expect((await ask('approval.list', {})).map((each) => each.id)).toContain(id)
  },
  async 'approval.show'() {
    const id = await pendingApproval()
    expect(await ask('approval.show', { id })).toMatchObject({ id, state: 'pending' })
  },
  async 'approval.approve'() {
    const order = { id: await pendingApproval(), reason: 'agreed' }
    expect(await ask('approval.approve', order)).toMatchObject({ taken: true })
    expect(await ask('approval.approve', order)).toMatchObject({ taken: false })
  },
  async 'approval.deny'() {
    const { approval } = await ask('approval.deny', { id: await pendingApproval(), reason: 'no' })
    expect(approval).toMatchObject({ state: 'denied', note: 'no' })
  },
  async 'channel.list'() {
    const full = await deadLetterIn()
    const { name: empty } = await openHall(world)
    const channels = await ask('channel.list', {})
    expect(channels.map(({ name }) => name)).toEqual(expect.arrayContaining([full, empty]))
    expect(channels.find(({ name }) => name === full)).toMatchObject({ dead: 1 })
  },
  async 'channel.create'() {
    await ask('channel.create', { name: 'created', members: ['caller', 'echo'] })
  },
  async 'channel.members'() {
    await ask('channel.create', { name: 'changed', members: ['caller'] })
    await ask('channel.members', { name: 'changed', members: ['caller', 'echo'] })
  },
  async 'channel.dead'() {
    expect(await ask('channel.dead', { name: await deadLetterIn() })).toHaveLength(1)
  },
  async 'channel.redrive'() {
    const name = await deadLetterIn()
    const order = { name, group, offset: 1 }
    expect(await ask('channel.redrive', order)).toEqual({ redriven: true })
    expect(await ask('channel.redrive', order)).toEqual({ redriven: false })
  },
  async 'ledger.read'() {
    const { entries, newer } = await ask('ledger.read', { countMax: 5 })
    expect(entries.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4])
    expect((await ask('ledger.read', { after: newer })).entries[0]?.index).toBe(5)
  },
  async 'ledger.recent'() {
    const exchange = await denied()
    const page = await ask('ledger.recent', {})
    expect(page.exchanges.map((each) => each.exchange)).toContain(exchange)
    const older = await ask('ledger.recent', { countMax: 1_000, before: page.older ?? '' })
    expect(older.exchanges.length).toBeGreaterThan(0)
    expect((await ask('ledger.recent', { after: page.newer })).exchanges.length).toBeGreaterThan(0)
  },
  async 'ledger.find'() {
    const exchange = await denied()
    const code = 'NOT_PERMITTED'
    const conditions = { caller: 'caller', receiver: 'fabric', operation: 'agent.list', code }
    const { exchanges } = await ask('ledger.find', { ...conditions, result: 'refused' })
    expect(exchanges[0]?.exchange).toBe(exchange)
    expect(new Set(exchanges.map(({ caller }) => caller))).toEqual(new Set(['caller']))
    expect((await ask('ledger.find', { ...conditions, result: 'delivered' })).exchanges).toEqual([])
    await expect(ask('ledger.find', { caller: 'nobody' })).rejects.toThrow('RECEIVER_UNKNOWN')
  },
  async 'ledger.check'() {
    await ask('ledger.check', {})
  },
  async 'ledger.subject'() {
    expect(await ask('ledger.subject', { subject: 'planner' })).toMatchObject({ slot: 'a' })
  },
  async 'ledger.erase'() {
    const subject = 'https://issuer.example#user/erased'
    expect(await ask('ledger.erase', { subject, reason: 'asked for' })).toMatchObject({
      ...{ subject, slot: 'a', entries: 0, underWay: 0, pending: [] },
    })
    const receiver = await world.agent('echo')
    const leaver = await world.agent('leaver', ['caller'])
    const exchange = exchangeOf(await send(world.gateway, { as: leaver.credential() }))
    await expect(ask('ledger.erase', { subject: 'leaver' })).rejects.toThrow('NOT_PERMITTED')
    await fetchReceipt(receiver, exchange)
    await ask('agent.revoke', { name: 'leaver', reason: 'left' })
    expect((await ask('ledger.erase', { subject: 'leaver' })).entries).toBeGreaterThan(1)
    await expect(fetchReceipt(receiver, exchange)).rejects.toThrow('EXCHANGE_ERASED')
    await expect(fetchReceipt(world.caller, exchange)).rejects.toThrow('NOT_PERMITTED')
  },
  async 'ledger.retention'() {
    expect(await ask('ledger.retention', {})).toMatchObject({
      ...{ slot: 'a', first: 0, minimum: 0, keepDays: null, keptBy: 'policy', bytes: 0 },
    })
  },
  async 'ledger.prune'() {
    const args = { slot: world.fabric.slot, reason: 'disk' }
    await expect(ask('ledger.prune', args)).rejects.toThrow('NOT_PERMITTED')
    await expect(ask('ledger.prune', { slot: 'z' })).rejects.toThrow('RECEIVER_UNKNOWN')
  },
  async 'route.list'() {
    expect(await ask('route.list', {})).not.toEqual([])
  },
  async 'route.put'() {
    const upstream = world.echo.url
    await ask('route.put', { name: 'stored', upstream })
    await ask('route.put', { name: 'stored', upstream, protocol: 'mcp' })
    const settings = { timeouts: { exchangeMs: 700 }, retries: { resend: true } }
    await ask('route.put', { name: 'stored', upstream, settings })
  },
  async 'route.delete'() {
    await ask('route.put', { name: 'removed', upstream: world.echo.url })
    expect(await ask('route.delete', { name: 'removed' })).toEqual({ removed: true })
    expect(await ask('route.delete', { name: 'removed' })).toEqual({ removed: false })
  },
}

describe('the contract is the whole answer of a running fabric', () => {
  test('every operation of the server is asked', () => {
    expect(Object.keys(checks).toSorted()).toEqual(Object.keys(OPERATIONS).toSorted())
  })

  test.each(Object.entries(checks))('to %s', async (_, check) => {
    await check()
  })

  test('to the watch, event by event', async () => {
    const stop = new AbortController()
    const entries: FollowedEntry[] = []
    const client = clientOf(world.operator, world.fabric.origin, null)
    const watching = (async () => {
      for await (const entry of client.watch(stop.signal)) entries.push(entry)
    })()
    try {
      // The watch may begin after the first of these was recorded.
      const asked: string[] = []
      const seen = await vi.waitFor(async () => {
        asked.push(await denied())
        return present(entries.find(({ exchange }) => asked.includes(exchange)))
      }, deadline)
      const { entries: recorded } = await client.admin('policy.explain', {
        exchange: seen.exchange,
      })
      const { cursor, ...entry } = seen
      expect(recorded).toEqual([entry])
      const { entries: later } = await client.admin('ledger.read', { after: cursor })
      expect(later.every(({ index }) => index > entry.index)).toBe(true)
    } finally {
      stop.abort()
      await watching
    }
  })
})

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing is there yet')
  return value
}

async function countersign(...args: readonly string[]) {
  const written = { stdout: '', stderr: '' }
  const screen = (to: 'stdout' | 'stderr') => ({
    columns: 400,
    write: (text: string | Uint8Array) => void (written[to] += String(text)),
  })
  const identity = ['--identity', join(world.dir, 'operator')]
  const screens = { stdout: screen('stdout'), stderr: screen('stderr') }
  return { status: await run([...args, ...identity], screens), ...written }
}

/** A fabric of another version, as to one operation. */
const answerWith = (operation: AdminOperation, result: unknown): void => {
  const row: { run(...args: never[]): unknown } = OPERATIONS[operation]
  vi.spyOn(row, 'run').mockReturnValue(result)
}

describe('the command line and a fabric of another version', () => {
  test('an answer with more fields is shown', async () => {
    const route = { name: 'a', urls: ['http://a'], protocol: 'mcp', source: 'configured' }
    const newer = { ...ROUTE_DEFAULTS, mirror: { percent: 5 } }
    answerWith('route.list', [{ ...route, settings: newer, weight: 3 }])
    const { status, stdout, stderr } = await countersign('route', 'list', '--json')
    expect({ status, stderr }).toEqual({ status: exitCode('ok'), stderr: '' })
    expect(JSON.parse(stdout)).toEqual([{ ...route, settings: ROUTE_DEFAULTS }])
  })

  test.each<[AdminOperation, unknown, string, readonly string[]]>([
    ['route.list', [{ name: 'a', urls: 'http://a' }], '[0].urls is not a list', ['route', 'list']],
    ['status', { version: '2' }, '.trustDomain is missing', ['status', '--json']],
    ['channel.create', null, ' is not an object', ['channel', 'create', 'c', '--member', 'a']],
    ['key.list', [{ prefix: 7 }], '[0].prefix is not a text', ['key', 'list']],
  ])('an answer to %s that cannot be read is explained', async (operation, result, fault, args) => {
    answerWith(operation, result)
    const { status, stdout, stderr } = await countersign(...args)
    expect({ status, stdout }).toEqual({ status: exitCode('unknown'), stdout: '' })
    const [what, next, ...others] = stderr.trimEnd().split('\n')
    expect(what).toBe(
      `error: the fabric answered ${operation} in a form that this command cannot read: ` +
        `the answer.result${fault}`,
    )
    expect(next).toMatch(/^next: use the `countersign` of the version that the fabric runs/)
    expect(others).toEqual([])
  })
})
