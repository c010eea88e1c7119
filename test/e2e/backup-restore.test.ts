import { createHash } from 'node:crypto'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { formatTrust, parseTrust, verifyReceipt } from '@countersign/protocol'
import { askControl, type Identity } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { lockFile } from '../../packages/fabric/src/adapters/file/file-lock.ts'
import { formatBackup, parseBackup } from '../../packages/fabric/src/backup/backup-document.ts'
import { makeBackup } from '../../packages/fabric/src/compose/backup.ts'
import type { Fabric } from '../../packages/fabric/src/compose/compose.ts'
import { restoreBackup } from '../../packages/fabric/src/compose/restore.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { parseTrustDocument } from '../../packages/sdk/src/identity/trust.ts'
import { lease, openHall, openSealer, orderOf, publish, publishedIn } from '../harness/channels.ts'
import { type Door, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { type ExplainedEntry, openTestFabric, openWorld, type World } from '../harness/world.ts'

let world: World
/** The folder of the backups, and of the data folders that are made from them. */
const dir = mkdtempSync(join(inject('worldsDir'), 'backup-'))

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'] })
  const data = join(world.dir, 'data')
  // `countersign up` writes them.
  const trust = formatTrust(parseTrustDocument(JSON.parse(world.fabric.trust)))
  writeFileSync(join(data, 'trust.json'), trust)
  writeFileSync(join(data, 'ca.pem'), world.fabric.rootPem)
  mkdirSync(join(data, 'operator'))
  copyFileSync(join(world.dir, 'operator', 'agent.json'), join(data, 'operator', 'agent.json'))
})
afterAll(async () => {
  await world.close()
  rmSync(dir, { recursive: true, force: true })
})

const configOf = (home: string, ledger: object = {}) =>
  parseConfig(
    {
      path: 'countersign.yaml',
      text: JSON.stringify({
        masterKey: { from: 'key-file', path: join(home, 'master.key') },
        ledger,
      }),
    },
    readEnvironment(),
    { dataDir: join(home, 'data'), port: 0 },
  )

const backUp = (folder: string, checkAll = false) =>
  makeBackup({
    ...{ config: configOf(world.dir), folder, checkAll, clock: world.clock, random: systemRandom },
    running: [world.fabric.slot],
    ask: async (slot) => (await world.admin('backup.make', { slot })) as never,
    onStep: () => undefined,
  })

interface Shown {
  readonly newest?: readonly Uint8Array[]
  readonly entriesLost?: boolean
  readonly ledger?: object
}

function restore(
  folder: string,
  home: string,
  { newest = [], entriesLost = false, ledger }: Shown,
) {
  return restoreBackup({
    ...{ config: configOf(home, ledger), folder, entriesLost, clock: world.clock },
    newest: newest.map((bytes, at) => ({ name: `shown ${at}`, bytes })),
    onStep: () => undefined,
  })
}

function newHome(name: string): string {
  const home = join(dir, name)
  mkdirSync(home)
  copyFileSync(join(world.dir, 'master.key'), join(home, 'master.key'))
  return home
}

const doorTo = ({ origin }: Fabric, path: (to: string, rest: string) => string): Door => ({
  ...{ transport: 'gateway', credential: () => world.caller.credential() },
  place: async (to, rest) => {
    const { host: authority, port } = new URL(origin)
    return { authority, port: Number(port), path: path(to, rest) }
  },
})

async function adminAt(fabric: Fabric, operation: string, args: object): Promise<unknown> {
  const connection = world.operator.connectionTo(fabric.origin)
  const request = { method: 'POST', path: '/v1/admin', value: { operation, args } } as const
  const answer = await askControl(connection, request).finally(() => connection.close())
  return (answer as { result: unknown }).result
}

async function receiptOf(door: Door, exchange: string): Promise<Uint8Array> {
  const path = `/v1/receipts/${exchange}`
  const heard = await send(door, { method: 'GET', body: null, path })
  if (heard.status !== 200) throw new Error(heard.body.toString())
  return heard.body
}

/** Calls and messages until `stop`; resolves to those that were acknowledged. */
function load(work: () => Promise<string>) {
  const acknowledged: string[] = []
  let goesOn = true
  const running = (async () => {
    while (goesOn) acknowledged.push(await work())
  })()
  return {
    acknowledged,
    stop: () => {
      goesOn = false
      return running
    },
  }
}

const callBy = (door: Door) => async (): Promise<string> => {
  const heard = await send(door, { to: 'echo' })
  expect(heard.status).toBe(200)
  return exchangeOf(heard)
}

async function untilSome(loads: readonly { readonly acknowledged: readonly string[] }[]) {
  await expect
    .poll(() => Math.min(...loads.map((each) => each.acknowledged.length)))
    .toBeGreaterThan(20)
}

test('under load, a backup has everything that was acknowledged before it began', async () => {
  const { name: channel, members } = await openHall(world)
  const sealer = await openSealer(world, channel, world.caller)
  const publishOne = async (): Promise<string> => {
    const heard = await publish(world, channel, [sealer.seal(orderOf()).bytes])
    return String(publishedIn(heard).results[0]?.state)
  }
  const loads = [callBy(world.gateway), callBy(world.mesh), publishOne].map(load)
  await untilSome(loads)
  await probe()
  const [called = [], met = [], published = []] = loads.map(({ acknowledged }) => [...acknowledged])
  const folder = join(dir, 'under-load')
  await backUp(folder)
  // The next start makes it from the log.
  expect(readdirSync(folder, { recursive: true }).join('\n')).not.toMatch(/consumers\/|\.state$/m)
  await Promise.all(loads.map(({ stop }) => stop()))
  const trust = parseTrust(readFileSync(join(world.dir, 'data', 'trust.json'), 'utf8'))
  const early = await receiptOf(world.control, called[0] ?? '')
  await verifyReceipt(early, trust)

  const home = newHome('restored')
  // The public checkpoint may still be that of the backup.
  const later = await receiptOf(world.control, await callBy(world.gateway)())
  await expect(restore(folder, home, { newest: [later] })).rejects.toThrow(/lacks \d+ entries/)
  const shown = parseBackup(readFileSync(join(folder, 'backup.json'), 'utf8'))
  const own = readFileSync(join(folder, 'log', shown.id, 'ledger', 'a', 'log', 'checkpoint'))
  const restored = await restore(folder, home, { newest: [new Uint8Array(own)] })
  expect(restored.logs).toEqual([{ slot: 'a', size: shown.logs[0]?.size, missing: 0 }])
  const fabric = await openTestFabric(home, world.clock, { requestsPerMinute: 100_000 })
  try {
    await checkRestored(fabric, { exchanges: [...called, ...met], trust })
    const control = doorTo(fabric, (_, path) => path)
    const there = { ...world, fabric, control } as World
    const leased = await lease(there, channel, present(members[1]))
    expect(leased.length).toBe(Math.min(10, published.length))
    expect(new Set(published)).toEqual(new Set(['stored']))
    const gateway = doorTo(fabric, (to, path) => `/agents/${to}${path}`)
    const again = await callBy(gateway)()
    await verifyReceipt(await receiptOf(control, again), trust)
  } finally {
    await fabric.close(0)
  }
})

/** The caller's requests to administer are denied, which detection remembers. */
async function probe(): Promise<void> {
  const { connection } = world.caller
  const request = { method: 'POST', path: '/v1/admin', value: { operation: 'status', args: {} } }
  for (let i = 0; i < 25; i++) {
    await askControl(connection, { ...request, method: 'POST' }).catch(() => undefined)
  }
}

/** The signals that a fabric has of the caller. */
async function findingsOf(admin: (operation: string, args: object) => Promise<unknown>) {
  const shown = await admin('agent.show', { name: world.caller.name })
  const { signals } = shown as { readonly signals: readonly { readonly detector: string }[] }
  return signals.map(({ detector }) => detector)
}

function present(identity: Identity | undefined): Identity {
  if (identity === undefined) throw new Error('the channel has no such member')
  return identity
}

interface Expected {
  readonly exchanges: readonly string[]
  readonly trust: ReturnType<typeof parseTrust>
}

async function checkRestored(fabric: Fabric, { exchanges, trust }: Expected): Promise<void> {
  await adminAt(fabric, 'ledger.check', {})
  const control = doorTo(fabric, (_, path) => path)
  for (const exchange of exchanges) {
    await verifyReceipt(await receiptOf(control, exchange), trust)
  }
  const page = (await adminAt(fabric, 'ledger.find', { operation: 'log-restored' })) as {
    readonly exchanges: readonly ExplainedEntry[]
  }
  expect(page.exchanges.map(({ facts }) => facts)).toEqual([
    expect.objectContaining({ event: 'log-restored', 'entries-lost': 0 }),
  ])
  // Detection is not in a backup, and is not lost either.
  const findings = await findingsOf((operation, args) => adminAt(fabric, operation, args))
  expect(findings).toContain('refusals')
  expect(findings).toEqual(await findingsOf((operation, args) => world.admin(operation, args)))
  const policies = (await adminAt(fabric, 'policy.show', {})) as { readonly version: string }
  expect(policies).toEqual(await world.admin('policy.show'))
}

describe('a restore is refused', () => {
  const folder = join(dir, 'kept')
  beforeAll(async () => {
    await backUp(folder)
  })

  test('into a folder that is not empty', async () => {
    const home = newHome('not-empty')
    mkdirSync(join(home, 'data'))
    writeFileSync(join(home, 'data', 'mine'), '')
    await expect(restore(folder, home, { entriesLost: true })).rejects.toThrow('is not empty')
    expect(readdirSync(join(home, 'data'))).toEqual(['mine'])
  })

  test('while nothing shows the newest size', async () => {
    const home = newHome('unknown')
    await expect(restore(folder, home, {})).rejects.toThrow('--newest')
    expect(readdirSync(home)).toEqual(['master.key'])
    const { logs } = await restore(folder, home, { entriesLost: true })
    expect(logs[0]?.missing).toBe(null)
  })

  test('where a receipt is of a later entry, until the loss is accepted, which is recorded', async () => {
    const later = await receiptOf(world.control, await callBy(world.gateway)())
    const home = newHome('later')
    await expect(restore(folder, home, { newest: [later] })).rejects.toThrow(/lacks \d+ entries/)
    const { logs } = await restore(folder, home, { newest: [later], entriesLost: true })
    const missing = logs[0]?.missing ?? 0
    expect(missing).toBeGreaterThan(0)
    const fabric = await openTestFabric(home, world.clock, {})
    const page = (await adminAt(fabric, 'ledger.find', { operation: 'log-restored' })) as {
      readonly exchanges: readonly ExplainedEntry[]
    }
    expect(page.exchanges[0]?.facts).toMatchObject({ 'entries-lost': missing })
    await fabric.close(0)
    expect(readdirSync(join(home, 'data', 'ledger', 'a'))).not.toContain('restored.json')
    // Two histories now: a backup of the one is never restored where the other is known.
    const forked = new Uint8Array(
      readFileSync(join(home, 'data', 'ledger', 'a', 'log', 'checkpoint')),
    )
    await callBy(world.gateway)()
    const other = join(dir, 'other-history')
    await backUp(other)
    const lost = { newest: [forked], entriesLost: true }
    await expect(restore(other, newHome('forked'), lost)).rejects.toThrow('two histories')
  })

  test('where the head store apart from the log shows more, whatever is accepted', async () => {
    const home = newHome('head')
    const headDir = join(home, 'heads')
    mkdirSync(join(headDir, 'a'), { recursive: true })
    copyFileSync(join(world.dir, 'data', 'ledger', 'a', 'head'), join(headDir, 'a', 'head'))
    const ledger = { headDir }
    const refused = restore(folder, home, { entriesLost: true, ledger })
    await expect(refused).rejects.toThrow('that the backup lacks')
    rmSync(join(headDir, 'a', 'head'))
    await restore(folder, home, { entriesLost: true, ledger })
    expect(readdirSync(join(headDir, 'a'))).toContain('head')
    expect(readdirSync(join(home, 'data', 'ledger', 'a'))).not.toContain('head')
  })

  test('for a flipped byte in any file', async () => {
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile() && each.name !== 'lock')
      .map((each) => join(each.parentPath, each.name))
    expect(files.length).toBeGreaterThan(15)
    for (const [at, file] of files.entries()) {
      const bytes = readFileSync(file)
      const flipped = Buffer.from(bytes)
      const place = Math.floor(bytes.length / 2)
      flipped[place] = (flipped[place] ?? 0) ^ 1
      writeFileSync(file, flipped)
      const home = newHome(`flipped-${at}`)
      await expect(restore(folder, home, { entriesLost: true }), file).rejects.toThrow()
      expect(readdirSync(home), file).not.toContain('data')
      writeFileSync(file, bytes)
    }
  })
})

describe('a backup with valid sums, of an attacker who can write to its folder', () => {
  const planted = [
    'leases.db',
    'used-values/x',
    'ledger/a/head',
    'ledger/a/restored.json',
    'consumers/x',
    'x',
  ]

  test.each(planted)('does not bring %s into the data folder', async (path) => {
    const folder = join(dir, 'planted')
    await backUp(folder)
    const file = join(folder, 'backup.json')
    const { id, files, ...rest } = parseBackup(readFileSync(file, 'utf8'))
    const own = `log/${id}/${path}`
    mkdirSync(dirname(join(folder, own)), { recursive: true })
    writeFileSync(join(folder, own), '')
    const sha256 = createHash('sha256').digest('hex')
    const added = [...files, { path: own, bytes: 0, sha256 }]
    writeFileSync(file, formatBackup({ ...rest, id, files: added }))
    const home = newHome(`planted-${planted.indexOf(path)}`)
    await expect(restore(folder, home, { entriesLost: true })).rejects.toThrow(own)
    expect(readdirSync(home)).not.toContain('data')
  })
})

describe('a backup', () => {
  test('is one at a time', async () => {
    const unlock = lockFile(join(world.dir, 'data', 'backup.lock'))
    await expect(backUp(join(dir, 'second'))).rejects.toThrow('another backup')
    unlock()
  })

  test('of another fabric is not continued', async () => {
    const folder = join(dir, 'of-another')
    await backUp(folder)
    const file = join(folder, 'backup.json')
    const other = { ...parseBackup(readFileSync(file, 'utf8')), trustFingerprint: 'SHA256:other' }
    writeFileSync(file, formatBackup(other))
    await expect(backUp(folder)).rejects.toThrow('of another fabric')
    expect(readFileSync(file, 'utf8')).toBe(formatBackup(other))
  })

  test('is not continued by a log that goes on from an older one', async () => {
    const [older, newer] = [join(dir, 'older'), join(dir, 'newer')]
    await backUp(older)
    await callBy(world.gateway)()
    await backUp(newer)
    const before = readFileSync(join(newer, 'backup.json'), 'utf8')
    const home = newHome('goes-on')
    await restore(older, home, { entriesLost: true })
    const fork = {
      ...{ config: configOf(home), checkAll: false, clock: world.clock, random: systemRandom },
      ...{
        running: [],
        ask: () => Promise.reject(new Error('none runs')),
        onStep: () => undefined,
      },
    }
    await expect(makeBackup({ ...fork, folder: newer })).rejects.toThrow(
      /has \d+ entries of slot a, the log \d+/,
    )
    for (let starts = 0; starts < 4; starts++) {
      await (await openTestFabric(home, world.clock, {})).close(0)
    }
    await expect(makeBackup({ ...fork, folder: newer })).rejects.toMatchObject({
      name: 'LedgerDamage',
    })
    expect(readFileSync(join(newer, 'backup.json'), 'utf8')).toBe(before)
    // Into a folder of its own it is.
    await makeBackup({ ...fork, folder: join(dir, 'of-the-fork') })
  })

  test('is not made into a folder of something else, or of another fabric', async () => {
    const folder = join(dir, 'foreign')
    mkdirSync(folder)
    writeFileSync(join(folder, 'mine'), 'mine')
    await expect(backUp(folder)).rejects.toThrow('is not a backup')
    expect(readFileSync(join(folder, 'mine'), 'utf8')).toBe('mine')
    await expect(backUp(join(world.dir, 'data', 'inside'))).rejects.toThrow('contain')
  })

  test('is not continued on a copy whose tiles were altered', async () => {
    const folder = join(dir, 'altered')
    await backUp(folder)
    const tile = join(folder, 'log', 'ledger', 'a', 'tile', 'entries', '000')
    for (let made = 0; made < 90; made++) await callBy(world.gateway)()
    await backUp(folder)
    const bytes = readFileSync(tile)
    bytes[100] = (bytes[100] ?? 0) ^ 1
    writeFileSync(tile, bytes)
    await expect(backUp(folder, true)).rejects.toThrow()
  })
})
