import { mkdirSync } from 'node:fs'
import { join as at } from 'node:path'
import { type Identity, openIdentity, RefusedError } from '@countersign/sdk'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { deadline } from '../harness/deadline.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import { openWorld, type World } from '../harness/world.ts'

const mebibyte = 1024 * 1024
const disk = vi.hoisted((): { free: number | null } => ({ free: null }))

/** The disk of this process has as much free space as a test sets. */
vi.mock(import('../../packages/fabric/src/ledger/space-guard.ts'), async (original) => {
  const actual = await original()
  class FakeSpace extends actual.SpaceGuard {
    constructor(options: ConstructorParameters<typeof actual.SpaceGuard>[0]) {
      super({ ...options, freeBytes: async () => disk.free ?? (await options.freeBytes()) })
    }
  }
  return { ...actual, SpaceGuard: FakeSpace }
})

/** An agent asks once where it would repeat its request for seconds. */
vi.mock(import('../../packages/sdk/src/connection/control.ts'), async (original) => {
  const actual = await original()
  return {
    ...actual,
    retrying: (attempt, signal) => actual.retrying(attempt, signal, 1),
  }
})

let world: World

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'] })
})
afterAll(() => world.close())
afterEach(() => fill(null))

/** Resolves once the fabric has measured it. */
async function fill(free: number | null): Promise<void> {
  disk.free = free
  const limit = free === null ? null : expect.stringMatching(/^ledger\.freeBytes/)
  await vi.waitFor(async () => {
    expect(field(await send(world.gateway), 'countersign-limit')).toEqual(limit)
  }, deadline)
}

async function joinString(name: string): Promise<string> {
  const order = { name, roles: ['caller'], ttlSeconds: 900 }
  const { join } = (await world.admin('agent.enroll', order)) as { readonly join: string }
  return join
}

async function enrol(name: string, join: string): Promise<Identity> {
  const dir = at(world.dir, `full-${name}`)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return openIdentity({ join, dir, clock: world.clock, onFault: () => undefined })
}

const refusedBy = (given: Promise<unknown>): Promise<RefusedError> =>
  given.then(
    (value) => {
      throw new Error(`no refusal: ${String(value)}`)
    },
    (error: unknown) => {
      if (error instanceof RefusedError) return error
      throw error
    },
  )

async function recorded(event: string, name: string): Promise<number> {
  const entries = await world.recorded()
  return entries.filter(
    ({ facts }) => facts['event'] === event && String(facts['agent']).endsWith(`/${name}`),
  ).length
}

const stateOf = (name: string): Promise<unknown> => world.admin('agent.show', { name })

describe('on a disk that is nearly full [record:ledger-failure]', () => {
  const nearlyFull = 200 * mebibyte

  test('an enrolment changes nothing, and its client receives why', async () => {
    const joins = { again: await joinString('again'), newcomer: await joinString('newcomer') }
    const before = await enrol('again', joins.again)
    joins.again = await joinString('again')
    const was = await stateOf('again')
    await fill(nearlyFull)
    for (const [name, join] of Object.entries(joins)) {
      const refusal = await refusedBy(enrol(`${name}-later`, join))
      expect(refusal).toMatchObject({
        ...{ code: 'LEDGER_UNAVAILABLE', retry: true, mayHaveActed: false },
        limit: 'ledger.freeBytes, 256 MiB',
      })
    }
    await fill(null)
    expect(await stateOf('again')).toEqual(was)
    expect(await refusedBy(stateOf('newcomer'))).toMatchObject({ code: 'RECEIVER_UNKNOWN' })
    expect((await send(world.gateway, { as: before.credential() })).status).toBe(200)
    before.close()
    // The join strings are as good as before.
    for (const [name, join] of Object.entries(joins)) {
      ;(await enrol(`${name}-last`, join)).close()
      expect(await recorded('enrolled', name)).toBe(name === 'again' ? 2 : 1)
    }
  })

  test('a certificate is renewed, on record, so that what it carries can end', async () => {
    const agent = await world.agent('renews', ['caller'])
    await fill(nearlyFull)
    await agent.renew()
    await fill(null)
    expect(await recorded('renewed', 'renews')).toBe(1)
  })

  test('an operator looks who fills it, and quarantines them', async () => {
    await world.agent('filler', ['caller'])
    await fill(nearlyFull)
    expect(JSON.stringify(await world.admin('agent.list'))).toContain('"filler"')
    expect(await world.admin('ledger.recent', { countMax: 5 })).toMatchObject({
      exchanges: { length: 5 },
    })
    await world.admin('agent.quarantine', { name: 'filler', reason: 'fills the disk' })
    expect(await stateOf('filler')).toMatchObject({ status: 'quarantined' })
  })

  test('a request that no handler reads is answered as well', async () => {
    await fill(nearlyFull)
    for (const path of ['/v1/nothing', '/nothing', '/v1/enroll']) {
      const heard = await send(world.control, { path, body: '{', as: null })
      expect(`${path} ${refusalOf(heard)}`).toBe(`${path} LEDGER_UNAVAILABLE`)
    }
  })
})

describe('on a disk with less than half of what is kept [record:ledger-failure]', () => {
  const nearlyOut = 100 * mebibyte

  test('looking and renewing leave the rest to what changes something', async () => {
    await world.agent('second', ['caller'])
    const agent = await world.agent('later', ['caller'])
    await fill(nearlyOut)
    const limit = 'ledger.freeBytesRead, 128 MiB'
    const outOfSpace = { code: 'LEDGER_UNAVAILABLE', retry: true, mayHaveActed: false, limit }
    expect(await refusedBy(world.admin('agent.list'))).toMatchObject(outOfSpace)
    expect(await refusedBy(agent.renew())).toMatchObject(outOfSpace)
    await world.admin('agent.quarantine', { name: 'second', reason: 'fills the disk' })
    await world.admin('agent.revoke', { name: 'second', reason: 'fills the disk' })
    await fill(null)
    expect(await stateOf('second')).toMatchObject({ status: 'revoked' })
    await agent.renew()
    expect(await recorded('renewed', 'later')).toBe(1)
  })
})
