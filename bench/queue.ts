import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  encodeFrames,
  encodeLeases,
  encodePublishAnswer,
  encodeSettlementAnswer,
  encodeSignedDescriptor,
  parseLeaseRequest,
  parseSettlement,
} from '@countersign/protocol'
import { openSqliteChannelRecords } from '../packages/fabric/src/adapters/sqlite/channel-records.ts'
import {
  openSqliteChannelStore,
  type SqliteChannelStore,
} from '../packages/fabric/src/adapters/sqlite/channel-store.ts'
import { ChannelAuthority } from '../packages/fabric/src/channels/channel-authority.ts'
import { Channels } from '../packages/fabric/src/channels/channels.ts'
import { decodePublish } from '../packages/fabric/src/channels/publish-decoding.ts'
import type { AgentRecord } from '../packages/fabric/src/identity/directory.ts'
import { systemClock } from '../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../packages/fabric/src/lib/random.ts'
import { Refusal } from '../packages/fabric/src/lib/refusal.ts'
import { openChannel } from '../packages/sdk/src/channel/channel.ts'
import type { ChannelReply, ChannelRequest } from '../packages/sdk/src/channel/channel-calls.ts'
import type { Signatures } from '../packages/sdk/src/channel/channel-sender.ts'
import { rawPublicKey } from '../packages/sdk/src/identity/keys.ts'

export interface QueueFigures {
  readonly name: string
  /** Messages that were sent, opened and acknowledged, per second. */
  readonly messagesPerSecond: number
  /**
   * Transactions that waited for the disk, and two syncs for each checkpoint, per 1,000
   * acknowledgements.
   */
  readonly fsyncsPer1000: number
  /** User and system time of the whole process, all parties, per message. */
  readonly cpuUsPerMessage: number
}

const bodyBytes = 1024
/** Concurrent senders of single messages. */
const inFlight = 128
const batch = 64

/**
 * One sealed kilobyte from sender to receiver over the embedded store, without HTTP: sealed,
 * signed, verified by the broker, fsynced, leased, verified and opened by the receiver,
 * acknowledged under a countersignature, fsynced. All parties share this process and its cores.
 */
export async function measureQueue(dir: string): Promise<readonly QueueFigures[]> {
  const figures: QueueFigures[] = []
  const measures = [
    () => measureStore(join(dir, 'store-1'), 1, 2000),
    () => measureStore(join(dir, 'store-64'), batch, 60_000),
    () => measureSealed(join(dir, 'each'), 12_000, { send: sendMany, signatures: 'each' }),
    () => measureSealed(join(dir, 'window'), 40_000, { send: sendMany, signatures: 'window' }),
    () => measureSealed(join(dir, 'batch'), 40_000, { send: sendBatches, signatures: 'each' }),
    () => measureSealed(join(dir, 'one'), 1000, { send: sendOneByOne, signatures: 'each' }),
  ]
  for (const measure of measures) figures.push(await measure())
  await rm(dir, { recursive: true, force: true })
  return figures
}

interface Sending {
  readonly send: Send
  readonly signatures: Signatures
}

type Send = (channel: ReturnType<typeof openChannel>, count: number) => Promise<void>

const body = new Uint8Array(systemRandom(bodyBytes))

/** Each message is sent alone; `inFlight` are under way. */
const sendMany: Send = async (channel, count) => {
  let left = count
  const send = async () => {
    while (left-- > 0) await channel.send(body)
  }
  await Promise.all(Array.from({ length: inFlight }, send))
}

const sendBatches: Send = async (channel, count) => {
  const messages = Array.from({ length: batch }, () => ({ body }))
  let left = Math.ceil(count / batch)
  const send = async () => {
    while (left-- > 0) await channel.sendBatch(messages)
  }
  await Promise.all(Array.from({ length: 4 }, send))
}

const sendOneByOne: Send = async (channel, count) => {
  for (let i = 0; i < count; i++) await channel.send(body)
}

async function measureSealed(
  directory: string,
  count: number,
  { send, signatures }: Sending,
): Promise<QueueFigures> {
  const place = await openPlace(directory)
  const sender = place.channelOf('alice', signatures)
  const receiver = place.channelOf('bob')
  const run = async (messages: number) => {
    let received = 0
    const receive = async () => {
      while (received < messages) {
        const leased = await receiver.receive({ group: 'g', countMax: 256, waitMs: 50 })
        received += leased.length
        await Promise.all(leased.map((message) => message.ack()))
      }
    }
    await Promise.all([send(sender, messages), receive(), receive()])
  }
  const whole = Math.ceil(count / batch) * batch
  await run(batch * 4)
  const figures = await timed(`${send.name} ${signatures}`, whole, place.store, () => run(whole))
  await place.close()
  return figures
}

/**
 * The store alone: publish, lease and settle in commits of `size` messages, one after the other.
 */
async function measureStore(directory: string, size: number, count: number): Promise<QueueFigures> {
  const store = await openStore(directory)
  let made = 0
  const round = async () => {
    const now = systemClock.now()
    const orders = Array.from({ length: size }, () => ({
      channel: 'bench',
      messageId: `m${made}`,
      idempotencyHash: `k${made}`,
      contentHash: `c${made++}`,
      orderingHash: null,
      sealed: body,
      now,
      expiresAt: now + 3_600_000,
    }))
    await store.publish(orders)
    const order = {
      channel: 'bench',
      group: 'g',
      countMax: size,
      bytesMax: 2 ** 23,
      now,
      leaseMs: 60_000,
    }
    const leased = await store.lease(order)
    await store.settle(
      leased.map(({ message: { offset }, leaseToken }) => ({
        ...{ channel: 'bench', group: 'g', offset, leaseToken, now, delayMs: 0, reason: '' },
        verdict: 'ack' as const,
      })),
    )
  }
  const rounds = async (messages: number) => {
    for (let i = 0; i < messages / size; i++) await round()
  }
  await rounds(size * 20)
  const figures = await timed(`store only, ${size} per commit`, count, store, () => rounds(count))
  await store.close()
  return figures
}

async function timed(
  name: string,
  count: number,
  store: SqliteChannelStore,
  run: () => Promise<void>,
): Promise<QueueFigures> {
  const before = await store.sweep()
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const after = await store.sweep()
  const syncs = after.syncs - before.syncs + 2 * (after.checkpoints - before.checkpoints)
  return {
    name: names[name] ?? name,
    messagesPerSecond: count / seconds,
    fsyncsPer1000: (syncs / count) * 1000,
    cpuUsPerMessage: (user + system) / count,
  }
}

const names: Readonly<Record<string, string>> = {
  'sendMany each': `a signature each, ${inFlight} in flight`,
  'sendMany window': `a signature for a window, ${inFlight} in flight`,
  'sendBatches each': `a signature for ${batch}`,
  'sendOneByOne each': 'a signature each, one at a time',
}

async function openStore(directory: string): Promise<SqliteChannelStore> {
  await mkdir(directory, { recursive: true })
  return openSqliteChannelStore({
    directory,
    clock: systemClock,
    random: systemRandom,
    onFatal: (error) => {
      throw error
    },
  })
}

const fabric = generateKeyPairSync('ed25519')

/** A broker without the pipeline, and two enrolled agents. */
async function openPlace(directory: string) {
  const store = await openStore(directory)
  const records = openSqliteChannelRecords(directory)
  const agents = new Map(['alice', 'bob'].map((name) => [name, createAgent(name)] as const))
  const findAgent = (name: string) => agents.get(name)?.record ?? null
  const signer = {
    keyId: 'fabric',
    sign: (bytes: Uint8Array) => sign(null, bytes, fabric.privateKey),
  }
  const deps = { records, findAgent, trustDomain: 'bench.test', clock: systemClock }
  const authority = await ChannelAuthority.open({ ...deps, signer })
  await authority.create({ name: 'bench', members: ['alice', 'bob'] })
  const channels = new Channels({ ...deps, store, authority })
  return {
    store,
    channelOf(name: string, signatures: Signatures = 'window') {
      const agent = agents.get(name)
      if (agent === undefined) throw new Error('no such agent')
      const authorityKey = { keyId: 'fabric', publicKey: fabric.publicKey }
      const request = requestAs(name, channels)
      return openChannel({
        name: 'bench',
        identity: agent.identity,
        request,
        authority: authorityKey,
        signatures,
      })
    },
    async close() {
      channels.close()
      await store.close()
      await records.close()
    },
  }
}

function createAgent(name: string) {
  const signing = generateKeyPairSync('ed25519').privateKey
  const sealing = generateKeyPairSync('x25519').privateKey
  const record: AgentRecord = {
    ...{ name, kind: 'agent', roles: [], segment: 'default', attributes: {} },
    ...{ status: 'active', statusReason: '', createdAt: 0, generation: 0 },
    keys: {
      signing: { keyId: `${name}-s`, publicKey: rawPublicKey(signing) },
      sealing: { keyId: `${name}-e`, publicKey: rawPublicKey(sealing) },
    },
  }
  const identity = {
    ...{ name, trustDomain: 'bench.test' },
    signing: { keyId: `${name}-s`, privateKey: signing },
    sealing: { keyId: `${name}-e`, privateKey: sealing },
  }
  return { record, identity }
}

function requestAs(caller: string, channels: Channels): ChannelRequest {
  const call = {
    channel: 'bench',
    caller,
    still: () => null,
    proof: 'token false',
    policyVersion: () => '1',
    mayReceive: () => true,
    senderRight: () => 'stands' as const,
  }
  const routes: Readonly<
    Record<string, (body: Uint8Array, epoch: number | null) => Promise<Uint8Array>>
  > = {
    'POST messages': async (bytes) => {
      const decoded = accepted(decodePublish(bytes))
      const verified = accepted(await channels.checks.publish(call, decoded))
      return encodePublishAnswer(accepted(await channels.publish(call, verified)))
    },
    'POST leases': async (bytes) => {
      const request = present(parseLeaseRequest(bytes))
      const { messages, hold } = accepted(await channels.lease(call, request))
      hold.release()
      return encodeLeases(messages.map(({ message, ...rest }) => ({ ...rest, ...message })))
    },
    'POST settlements': async (bytes) => {
      const settlement = present(parseSettlement(bytes))
      const verified = accepted(await channels.checks.settlement(call, settlement))
      const { settled } = accepted(await channels.settle(call, verified))
      return encodeSettlementAnswer(settled)
    },
    'POST keys': async (bytes) => {
      accepted(await channels.putKey(call, bytes))
      return new Uint8Array()
    },
    'GET keys': async (_, epoch) => {
      const { keys, hold } = accepted(await channels.keys(call, epoch ?? 0))
      hold.release()
      return encodeFrames(keys)
    },
    'GET ': async (_, epoch) =>
      encodeSignedDescriptor(accepted(await channels.describe(call, epoch))),
  }
  return async (method, path, _headers, bytes): Promise<ChannelReply> => {
    const [route = '', query = ''] = path.split('?epoch=')
    const carry = present(routes[`${method} ${route.split('/')[4] ?? ''}`] ?? null)
    const answer = await carry(bytes ?? new Uint8Array(), query === '' ? null : Number(query))
    return { status: 200, headers: {}, body: answer }
  }
}

function accepted<T>(value: T | Refusal): T {
  if (value instanceof Refusal) throw new Error(`${value.code}: ${value.detail}`)
  return value
}

function present<T>(value: T | null): T {
  if (value === null) throw new Error('malformed')
  return value
}

/** Measures signing and verifying alone on the cores of this machine: the ceiling that both set. */
export function measureSignatures(): {
  readonly signsPerSecond: number
  readonly verifiesPerSecond: number
} {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const input = systemRandom(50)
  const signature = sign(null, input, privateKey)
  const rate = (work: () => unknown) => {
    const start = performance.now()
    let count = 0
    for (; performance.now() - start < 300; count++) work()
    return count / 0.3
  }
  return {
    signsPerSecond: rate(() => sign(null, input, privateKey)),
    verifiesPerSecond: rate(() => verify(null, input, publicKey, signature)),
  }
}

if (import.meta.main) {
  const figures = await measureQueue(process.argv[2] ?? '.bench-queue')
  process.stdout.write(`${JSON.stringify({ ...measureSignatures(), figures }, null, 2)}\n`)
}
