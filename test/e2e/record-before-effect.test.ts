import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseKeyCertificate } from '@countersign/protocol'
import { type Identity, openIdentity, RefusedError } from '@countersign/sdk'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { EntryDraft } from '../../packages/fabric/src/ledger/ledger.ts'
import { LedgerBusy } from '../../packages/fabric/src/ledger/unavailable.ts'
import { deadline } from '../harness/deadline.ts'
import { send } from '../harness/doors.ts'
import { openWorld, type World } from '../harness/world.ts'

const limit = { name: 'ledger.queueEntries', value: 1, unit: 'count' } as const
/** The `event` of the entries that the ledger refuses, and how many it has refused. */
const failing = vi.hoisted((): { event: string | null; refused: number } => ({
  event: null,
  refused: 0,
}))

/** A ledger that takes all entries except those of one event. */
vi.mock(import('../../packages/fabric/src/ledger/entry-feed.ts'), async (original) => {
  const actual = await original()
  const failingAt = (draft: EntryDraft): boolean =>
    draft.kind === 'lifecycle' && draft.facts['event'] === failing.event
  return {
    ...actual,
    createEntryFeed: (ledger) =>
      actual.createEntryFeed({
        slot: ledger.slot,
        appendBatch: (...batch) => ledger.appendBatch(...batch),
        append(draft) {
          if (!failingAt(draft)) return ledger.append(draft)
          failing.refused += 1
          return Promise.reject(new LedgerBusy(limit, 'too many entries wait'))
        },
      }),
  }
})

/** Looks at the policy folder, as the fabric does every few seconds without its watcher. */
const folders = vi.hoisted((): { look: () => void } => ({ look: () => undefined }))

vi.mock(import('../../packages/fabric/src/policy/watch-folder.ts'), async (original) => {
  const actual = await original()
  return {
    watchFolder(dir, onChange) {
      folders.look = onChange
      return actual.watchFolder(dir, onChange)
    },
  }
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
afterEach(() => {
  failing.event = null
  failing.refused = 0
})

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

const unrecordable = {
  ...{ code: 'LEDGER_UNAVAILABLE', retry: true, mayHaveActed: false },
  limit: 'ledger.queueEntries, 1',
}

describe('a key that signs what the fabric forwards [record:certified-keys]', () => {
  test('is on record before the fabric has begun, and is the one that receivers meet', async () => {
    const recent = await world.recorded()
    const events = recent.toReversed().map(({ facts }) => facts['event'])
    expect(events.indexOf('key-certified')).toBeGreaterThan(-1)
    expect(events.indexOf('key-certified')).toBeLessThan(events.indexOf('started'))
    const entry = recent.find(({ facts }) => facts['event'] === 'key-certified')
    const { certificate } = parseKeyCertificate(String(entry?.facts['key.certificate']))
    expect(certificate).toMatchObject({ purpose: 'forward', slot: 'a' })
    expect((await send(world.gateway)).status).toBe(200)
    const met = world.echo.reached.at(-1)?.headers['countersign-key']
    expect(met).toBe(entry?.facts['key.certificate'])
  })

  test('is not opened when its certificate cannot be recorded', async () => {
    failing.event = 'key-certified'
    await expect(openWorld()).rejects.toThrow('too many entries wait')
    expect(failing.refused).toBe(1)
  })
})

describe('a change of the policies that cannot be recorded does not take effect [record:policies]', () => {
  const forbidden = 'forbid(principal == Agent::"caller", action, resource);'
  const versionOf = async () =>
    ((await world.admin('policy.show')) as { readonly version: string }).version
  const folder = () => join(world.dir, 'data/policies')

  test('of a put: its client receives why, its file is not written, and it works later', async () => {
    const before = await versionOf()
    failing.event = 'policies-changed'
    const put = { name: 'late.cedar', text: forbidden }
    const refusal = await refusedBy(world.admin('policy.put', put))
    expect(refusal).toMatchObject(unrecordable)
    expect(readdirSync(folder()).filter((name) => name.includes('late'))).toEqual([])
    expect((await send(world.gateway)).status).toBe(200)
    expect(await versionOf()).toBe(before)
    failing.event = null
    expect(await world.admin('policy.put', put)).toMatchObject({ taken: true })
    expect((await send(world.gateway)).status).toBe(403)
    await world.admin('policy.put', { ...put, text: '' })
    expect((await send(world.gateway)).status).toBe(200)
  })

  test('of a file: the old set decides until the change is on record', async () => {
    const before = await versionOf()
    failing.event = 'policies-changed'
    writeFileSync(join(folder(), 'by-hand.cedar'), forbidden)
    await vi.waitFor(() => expect(failing.refused).toBeGreaterThan(0), deadline)
    await vi.waitFor(() => {
      folders.look()
      expect(failing.refused).toBeGreaterThan(1)
    }, deadline)
    expect((await send(world.gateway)).status).toBe(200)
    expect(await versionOf()).toBe(before)
    failing.event = null
    folders.look()
    await vi.waitFor(async () => expect((await send(world.gateway)).status).toBe(403), deadline)
    expect(readFileSync(join(folder(), 'by-hand.cedar'), 'utf8')).toBe(forbidden)
  })
})

describe('a certificate that cannot be recorded is not given out [record:certificates]', () => {
  async function joinString(name: string): Promise<string> {
    const order = { name, roles: ['caller'], ttlSeconds: 900 }
    const { join: line } = (await world.admin('agent.enroll', order)) as { readonly join: string }
    return line
  }

  async function enrol(name: string, line: string): Promise<Identity> {
    const dir = join(world.dir, `recorded-${name}`)
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    return openIdentity({ join: line, dir, clock: world.clock, onFault: () => undefined })
  }

  test('of an enrolment: the agent stays unknown, and its join string is good later', async () => {
    const line = await joinString('newcomer')
    failing.event = 'enrolled'
    expect(await refusedBy(enrol('newcomer', line))).toMatchObject(unrecordable)
    const unknown = await refusedBy(world.admin('agent.show', { name: 'newcomer' }))
    expect(unknown).toMatchObject({ code: 'RECEIVER_UNKNOWN' })
    failing.event = null
    const agent = await enrol('newcomer', line)
    expect((await send(world.gateway, { as: agent.credential() })).status).toBe(200)
    agent.close()
  })

  test('of a renewal: the certificate before it stays good, and is renewed later', async () => {
    const agent = await enrol('renewing', await joinString('renewing'))
    failing.event = 'renewed'
    expect(await refusedBy(agent.renew())).toMatchObject(unrecordable)
    expect((await send(world.gateway, { as: agent.credential() })).status).toBe(200)
    failing.event = null
    await agent.renew()
    expect((await send(world.gateway, { as: agent.credential() })).status).toBe(200)
    agent.close()
  })
})
