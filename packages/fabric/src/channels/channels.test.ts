import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  encodeFrames,
  encodeLeases,
  encodePublishAnswer,
  encodeSettlement,
  encodeSettlementAnswer,
  encodeSignedDescriptor,
  parseDescriptor,
  parseKeyMessage,
  parseLeaseRequest,
  parseSealedMessage,
  parseSettlement,
  type Settlement,
  utf8,
} from '@countersign/protocol'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type ChannelSettings, openChannel } from '../../../sdk/src/channel/channel.ts'
import type { ChannelReply, ChannelRequest } from '../../../sdk/src/channel/channel-calls.ts'
import { createSealer } from '../../../sdk/src/channel/seal.ts'
import { rawPublicKey } from '../../../sdk/src/identity/keys.ts'
import { openSqliteChannelRecords } from '../adapters/sqlite/channel-records.ts'
import { openSqliteChannelStore } from '../adapters/sqlite/channel-store.ts'
import type { AgentRecord, AgentStatus } from '../identity/directory.ts'
import { systemRandom } from '../lib/random.ts'
import { Refusal } from '../lib/refusal.ts'
import { ChannelAuthority } from './channel-authority.ts'
import { Channels } from './channels.ts'
import { type DecodedPublish, decodePublish } from './publish-decoding.ts'
import { QUEUE_WIRE } from './wire.ts'

const root = mkdtempSync(join(tmpdir(), 'queue-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const fabric = generateKeyPairSync('ed25519')
const signer = {
  keyId: 'fabric',
  sign: (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, fabric.privateKey)),
}

function createAgent(name: string) {
  const signing = generateKeyPairSync('ed25519').privateKey
  const sealing = generateKeyPairSync('x25519').privateKey
  return {
    identity: {
      name,
      trustDomain: 'example.org',
      signing: { keyId: `${name}-s`, privateKey: signing },
      sealing: { keyId: `${name}-e`, privateKey: sealing },
    },
    record: {
      name,
      kind: 'agent',
      roles: [],
      segment: 'default',
      attributes: {},
      status: 'active' as AgentStatus,
      statusReason: '',
      keys: {
        signing: { keyId: `${name}-s`, publicKey: rawPublicKey(signing) },
        sealing: { keyId: `${name}-e`, publicKey: rawPublicKey(sealing) },
      },
      createdAt: 0,
      generation: 0,
    } satisfies AgentRecord,
  }
}

const alice = createAgent('alice')
const bob = createAgent('bob')
const carol = createAgent('carol')
let directories = 0

/** A fabric's queue without the pipeline: every caller is taken for authenticated. */
class Queue {
  readonly agents = new Map<string, AgentRecord>()
  readonly directory = join(root, `queue-${directories++}`)
  now = 1_700_000_000_000
  readonly clock = { now: () => this.now, monotonic: () => this.now }
  #close: (() => Promise<void>)[] = []

  static async open(): Promise<OpenQueue> {
    const queue = new Queue()
    for (const { record } of [alice, bob, carol]) queue.agents.set(record.name, record)
    return queue.start()
  }

  async start(): Promise<OpenQueue> {
    const findAgent = (name: string) => this.agents.get(name) ?? null
    const { clock, directory } = this
    const records = openSqliteChannelRecords(directory)
    const store = await openSqliteChannelStore({
      directory,
      clock,
      random: systemRandom,
      onFatal: () => undefined,
      sweepMs: 3_600_000,
    })
    const trustDomain = 'example.org'
    const authority = await ChannelAuthority.open({
      records,
      findAgent,
      trustDomain,
      clock,
      signer,
    })
    const channels = new Channels({ store, records, authority, findAgent, trustDomain, clock })
    this.#close = [
      () => Promise.resolve(channels.close()),
      () => store.close(),
      () => records.close(),
    ]
    return { queue: this, store, records, authority, channels }
  }

  async stop(): Promise<void> {
    for (const close of this.#close.splice(0)) await close()
  }
}

interface OpenQueue {
  readonly queue: Queue
  readonly store: Awaited<ReturnType<typeof openSqliteChannelStore>>
  readonly records: ReturnType<typeof openSqliteChannelRecords>
  readonly authority: ChannelAuthority
  readonly channels: Channels
}

/** A right that is never withdrawn. */
const entitled = {
  still: () => null,
  mayReceive: () => true,
  proof: 'token false',
  policyVersion: () => '1',
  senderRight: () => 'stands' as const,
}

type Publishing = Parameters<Channels['publish']>[0]
type Settling = Parameters<Channels['settle']>[0]

async function publish(channels: Channels, call: Publishing, decoded: DecodedPublish) {
  const verified = await channels.checks.publish(call, decoded)
  return verified instanceof Refusal ? verified : channels.publish(call, verified)
}

async function settle(channels: Channels, call: Settling, settlement: Settlement) {
  const verified = await channels.checks.settlement(call, settlement)
  return verified instanceof Refusal ? verified : channels.settle(call, verified)
}

/** Does what the routes of a transport do, for one authenticated caller. */
function requestAs(caller: string, open: () => OpenQueue): ChannelRequest {
  return async (method, path, _headers, body) => {
    const { channels } = open()
    const { pathname, searchParams } = new URL(path, 'https://fabric.example')
    const [, , , channel = '', what = ''] = pathname.split('/')
    const call = { channel, caller, ...entitled }
    const epoch = searchParams.get('epoch')
    const bytes = body ?? new Uint8Array()
    const answer = async (): Promise<Uint8Array | Refusal> => {
      switch (`${method} ${what}`) {
        case 'POST messages': {
          const decoded = decodePublish(bytes)
          if (decoded instanceof Refusal) return decoded
          const published = await publish(channels, call, decoded)
          return published instanceof Refusal ? published : encodePublishAnswer(published)
        }
        case 'POST leases': {
          const request = parseLeaseRequest(bytes)
          if (request === null) return new Refusal('MESSAGE_MALFORMED', '')
          const leased = await channels.lease(call, request)
          if (leased instanceof Refusal) return leased
          leased.hold.release()
          return encodeLeases(
            leased.messages.map(({ message: { offset, sealed }, ...rest }) => ({
              offset,
              sealed,
              ...rest,
            })),
          )
        }
        case 'POST settlements': {
          const settlement = parseSettlement(bytes)
          if (settlement === null) return new Refusal('MESSAGE_MALFORMED', '')
          const settled = await settle(channels, call, settlement)
          return settled instanceof Refusal ? settled : encodeSettlementAnswer(settled.settled)
        }
        case 'POST keys':
          return (await channels.putKey(call, bytes)) ?? new Uint8Array()
        case 'GET keys': {
          const logged = await channels.keys(call, Number(epoch))
          if (logged instanceof Refusal) return logged
          logged.hold.release()
          return encodeFrames(logged.keys)
        }
        default: {
          const signed = await channels.describe(call, epoch === null ? null : Number(epoch))
          return signed instanceof Refusal ? signed : encodeSignedDescriptor(signed)
        }
      }
    }
    return toReply(await answer())
  }
}

function toReply(answer: Uint8Array | Refusal): ChannelReply {
  if (!(answer instanceof Refusal)) return { status: 200, headers: {}, body: answer }
  const { status } = QUEUE_WIRE[answer.code]
  return { status, headers: { 'countersign-refusal': answer.code }, body: new Uint8Array() }
}

let open: OpenQueue
beforeEach(async () => {
  open = await Queue.open()
})
afterEach(() => open.queue.stop())

type Agent = typeof alice

const channelOf = (
  { identity }: Agent,
  around: (request: ChannelRequest) => ChannelRequest = (r) => r,
  settings: ChannelSettings = {},
) =>
  openChannel({
    ...settings,
    name: 'orders',
    identity,
    request: around(requestAs(identity.name, () => open)),
    authority: { keyId: 'fabric', publicKey: fabric.publicKey },
    clock: open.queue.clock,
  })

const create = (...members: Agent[]) =>
  open.authority.create({ name: 'orders', members: members.map(({ record }) => record.name) })

const now = { group: 'g', waitMs: 0 }
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes)

describe('a channel', () => {
  test('carries a message from its sender to its receiver, and forgets it when it is acknowledged', async () => {
    await create(alice, bob)
    const sent = await channelOf(alice).send('seven apples', { labels: ['fruit', 'b', 'a'] })
    expect(sent).toMatchObject({ state: 'stored', offset: 1 })
    const receiver = channelOf(bob)
    const [message] = await receiver.receive(now)
    expect(text(message?.body)).toBe('seven apples')
    expect(message).toMatchObject({ sender: 'alice', attempt: 1 })
    expect(message?.header.labels).toEqual(['a', 'b', 'fruit'])
    await message?.ack()
    open.queue.now += 3_600_000
    expect(await receiver.receive(now)).toEqual([])
  })

  test('carries a batch under one signature, and settles it with one countersignature', async () => {
    await create(alice, bob)
    const bodies = Array.from({ length: 50 }, (_, i) => ({ body: `message ${i}` }))
    await channelOf(alice).sendBatch(bodies)
    let settlements = 0
    const receiver = channelOf(bob, (request) => (...call) => {
      if (call[1].endsWith('/settlements')) settlements++
      return request(...call)
    })
    const received = await receiver.receive({ ...now, countMax: 50 })
    expect(received.map(({ body }) => text(body))).toEqual(bodies.map(({ body }) => body))
    await Promise.all(received.map((message) => message.ack()))
    expect(settlements).toBe(1)
  })

  test.each([
    ['in one request under one signature', 'window', 1, true],
    ['each under its own, where the sender asks for it', 'each', 20, false],
  ] as const)(
    'carries what is sent at once %s',
    async (_, signatures, requestsExpected, batchSigned) => {
      await create(alice, bob)
      let requests = 0
      const count = (request: ChannelRequest): ChannelRequest => {
        return (...call) => {
          if (call[1].endsWith('/messages')) requests++
          return request(...call)
        }
      }
      const sender = channelOf(alice, count, { signatures })
      const bodies = Array.from({ length: 20 }, (_unused, i) => `message ${i}`)
      const sent = await Promise.all(bodies.map((body) => sender.send(body)))
      expect(requests).toBe(requestsExpected)
      const received = await channelOf(bob).receive({ ...now, countMax: 20 })
      const at = new Map(received.map((message) => [message.offset, message]))
      expect(sent.map(({ offset }) => text(at.get(offset)?.body))).toEqual(bodies)
      for (const { header } of received) expect(header.batchSigned).toBe(batchSigned)
    },
  )

  test('keeps no plaintext in any file', async () => {
    await create(alice, bob)
    await channelOf(alice).send('the canary sings at noon', { idempotencyKey: 'canary-key' })
    const [message] = await channelOf(bob).receive(now)
    await message?.nack()
    for (const file of readdirSync(open.queue.directory)) {
      const bytes = readFileSync(join(open.queue.directory, file))
      expect(bytes.includes('canary'), file).toBe(false)
    }
  })

  test('brings back what was not acknowledged, with the next attempt [queue:at-least-once]', async () => {
    await create(alice, bob)
    await channelOf(alice).send('x')
    const [first] = await channelOf(bob).receive({ ...now, leaseMs: 1000 })
    open.queue.now += 1000
    const [second] = await channelOf(bob).receive(now)
    expect(second?.attempt).toBe(2)
    await expect(first?.ack()).rejects.toMatchObject({ code: 'LEASE_LOST' })
    await second?.ack()
  })

  test('goes on after a restart of broker and receiver', async () => {
    await create(alice, bob)
    await channelOf(alice).send('before')
    const [held] = await channelOf(bob).receive(now)
    await open.queue.stop()
    open = await open.queue.start()
    await held?.ack()
    await channelOf(alice).send('after')
    const received = await channelOf(bob).receive(now)
    expect(received.map(({ body }) => text(body))).toEqual(['after'])
  })

  test('stores a retried send once, and refuses another body under the same key [queue:idempotent]', async () => {
    await create(alice, bob)
    const sending = { idempotencyKey: 'order-7' }
    await channelOf(alice).send('7 apples', sending)
    expect(await channelOf(alice).send('7 apples', sending)).toMatchObject({
      state: 'duplicate',
      offset: 1,
    })
    const other = channelOf(alice).send('8 apples', sending)
    await expect(other).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' })
    expect(await channelOf(bob).receive(now)).toHaveLength(1)
  })

  test('gives a waiting receiver what is sent meanwhile, and lets go of it when closing', async () => {
    await create(alice, bob)
    const waiting = channelOf(bob).receive({ group: 'g', waitMs: 20_000 })
    await channelOf(alice).send('at last')
    expect((await waiting).map(({ body }) => text(body))).toEqual(['at last'])
    const idle = channelOf(bob).receive({ group: 'g', waitMs: 20_000 })
    await new Promise((resolve) => setTimeout(resolve, 20))
    open.channels.close()
    expect(await idle).toEqual([])
  })
})

describe('membership', () => {
  test('a removed member can neither publish nor receive, and the next message is closed to it [queue:epochs]', async () => {
    await create(alice, bob, carol)
    const sender = channelOf(alice)
    const outsider = channelOf(carol)
    await sender.send('for three')
    expect(await outsider.receive({ ...now, group: 'c' })).toHaveLength(1)
    await open.authority.setMembers('orders', ['alice', 'bob'])
    await sender.send('for two')
    await expect(outsider.receive(now)).rejects.toMatchObject({ code: 'NOT_PERMITTED' })
    await expect(outsider.send('x')).rejects.toMatchObject({ code: 'NOT_PERMITTED' })
    const [, second] = await channelOf(bob).receive(now)
    expect(text(second?.body)).toBe('for two')
    expect(second?.header.epoch).toBe(2)
    const [logged] = await open.records.keys('orders', 2)
    const keys = parseKeyMessage(logged ?? new Uint8Array())?.message.keys
    expect(keys?.map(({ member }) => member)).toEqual(['alice', 'bob'])
  })

  test('a member that is removed while what it may not have is put back gets nothing of the rest', async () => {
    await create(alice, bob, carol)
    await channelOf(alice).send('for few', { labels: ['secret'] })
    await channelOf(alice).send('for all')
    const { store, authority, channels } = open
    const settle = store.settle.bind(store)
    const puttingBack = vi.spyOn(store, 'settle').mockImplementationOnce(async (orders) => {
      await authority.setMembers('orders', ['alice', 'bob'])
      return settle(orders)
    })
    const call = {
      ...{ channel: 'orders', caller: 'carol', ...entitled },
      mayReceive: (labels: readonly string[]) => !labels.includes('secret'),
    }
    const request = { group: 'g', count: 10, leaseMs: 30_000, waitMs: 0 }
    expect(await channels.lease(call, request)).toMatchObject({ code: 'NOT_PERMITTED' })
    puttingBack.mockRestore()
    // Unharmed, and no attempt was counted.
    const received = await channelOf(bob).receive({ ...now, countMax: 10 })
    const told = received.map(({ body, attempt }) => `${text(body)} ${attempt}`)
    expect(told.toSorted()).toEqual(['for all 1', 'for few 1'])
  })

  test('a sender that has not received the new epoch seals again, with the same message id', async () => {
    await create(alice, bob)
    const seen: string[] = []
    const sender = channelOf(alice, (request) => async (...call) => {
      const [, path, , body] = call
      if (path.endsWith('/messages') && body !== null) {
        seen.push(parseSealedMessage(body.subarray(4))?.header.messageId ?? '')
      }
      return request(...call)
    })
    await sender.send('one')
    await open.authority.setMembers('orders', ['alice', 'bob', 'carol'])
    expect(await sender.send('two')).toMatchObject({ state: 'stored', offset: 2 })
    expect(seen).toHaveLength(3)
    expect(seen[2]).toBe(seen[1])
    const received = await channelOf(bob).receive(now)
    expect(received.map(({ header }) => header.epoch)).toEqual([1, 2])
  })

  test('a quarantined member is left out of the next epoch, and back in after its release [revoke:lease]', async () => {
    await create(alice, bob)
    const epochOf = () => open.authority.find('orders')?.epoch
    open.queue.agents.set('bob', { ...bob.record, status: 'quarantined' })
    await open.authority.agentChanged('bob')
    expect(epochOf()).toBe(2)
    await open.authority.agentChanged('bob')
    expect(epochOf()).toBe(2)
    const signed = await open.authority.findDescriptor('orders', 2)
    const members = parseDescriptor(signed?.payload ?? new Uint8Array())?.members
    expect(members?.map(({ name }) => name)).toEqual(['alice'])
    await expect(channelOf(bob).receive(now)).rejects.toMatchObject({ code: 'NOT_PERMITTED' })
    open.queue.agents.set('bob', bob.record)
    await open.authority.agentChanged('bob')
    await channelOf(alice).send('welcome back')
    expect(await channelOf(bob).receive(now)).toHaveLength(1)
  })

  test('a change while the fabric was down makes a new epoch at its start', async () => {
    await create(alice, bob)
    await open.queue.stop()
    open.queue.agents.set('bob', { ...bob.record, status: 'revoked' })
    open = await open.queue.start()
    expect(open.authority.find('orders')).toMatchObject({ epoch: 2, floor: 2 })
  })

  test('keys of an epoch that ended before the retention are shredded', async () => {
    await create(alice, bob)
    await channelOf(alice).send('old')
    await open.authority.setMembers('orders', ['alice', 'bob', 'carol'])
    expect(await open.records.keys('orders', 1)).toHaveLength(1)
    open.queue.now += 8 * 24 * 3_600_000
    await open.authority.setMembers('orders', ['alice', 'bob'])
    expect(await open.records.keys('orders', 1)).toEqual([])
    expect(await open.records.findDescriptor('orders', 1)).toBeNull()
    expect(await open.records.findDescriptor('orders', 2)).not.toBeNull()
  })

  test('of two changes at once, both count', async () => {
    await create(alice, bob)
    await Promise.all([
      open.authority.setMembers('orders', ['alice', 'carol']),
      open.authority.setMembers('orders', ['alice', 'bob', 'carol']),
    ])
    expect(open.authority.find('orders')).toMatchObject({
      epoch: 3,
      members: ['alice', 'bob', 'carol'],
    })
  })

  test('unknown members, a second channel of the name and a bad name are refused', async () => {
    await create(alice, bob)
    const code = async (made: Promise<unknown>) => {
      const answer = await made
      return answer instanceof Refusal ? answer.code : 'MADE'
    }
    expect(await code(create(alice))).toBe('IDEMPOTENCY_CONFLICT')
    const { authority } = open
    expect(await code(authority.create({ name: 'x', members: ['nobody'] }))).toBe(
      'RECEIVER_UNKNOWN',
    )
    expect(await code(authority.create({ name: '../x', members: ['bob'] }))).toBe(
      'MESSAGE_MALFORMED',
    )
    expect(await code(authority.setMembers('nowhere', ['bob']))).toBe('RECEIVER_UNKNOWN')
    expect(await code(authority.setMembers('orders', []))).toBe('MESSAGE_MALFORMED')
  })
})

describe('attacks', () => {
  const sealAs = (
    agent: Agent,
    changes: { channel?: string; epoch?: number; suite?: 1 | 2; lifetimeMs?: number } = {},
  ) => {
    const { lifetimeMs = 60_000, ...rest } = changes
    const sealer = createSealer({
      identity: agent.identity,
      channel: 'orders',
      epoch: 1,
      suite: 1,
      padding: 'none',
      clock: open.queue.clock,
      random: systemRandom,
      ...rest,
    })
    const order = {
      body: utf8('x'),
      contentType: 'text/plain',
      labels: [],
      orderingKey: null,
      idempotencyKey: null,
      lifetimeMs,
      messageId: null,
    }
    return { sealer, bytes: sealer.seal(order).bytes }
  }

  const publishAs = async (caller: string, ...sealed: Uint8Array[]) => {
    const decoded = decodePublish(encodeFrames(sealed))
    if (decoded instanceof Refusal) return decoded.code
    const answer = await publish(open.channels, { channel: 'orders', caller, ...entitled }, decoded)
    return answer instanceof Refusal ? answer.code : 'PUBLISHED'
  }

  test('a message whose sender leaves, or changes its key, after the check is not stored', async () => {
    const { authority, channels, queue, store } = open
    await create(alice, bob)
    const call = { channel: 'orders', caller: 'alice', ...entitled }
    const check = async () => {
      const decoded = decodePublish(encodeFrames([sealAs(alice).bytes]))
      if (decoded instanceof Refusal) throw new Error(decoded.detail)
      const verified = await channels.checks.publish(call, decoded)
      if (verified instanceof Refusal) throw new Error(verified.detail)
      return verified
    }
    const early = await check()
    const other = { ...alice.record.keys, signing: { ...alice.record.keys.signing, keyId: 'new' } }
    queue.agents.set('alice', { ...alice.record, keys: other })
    expect(await channels.publish(call, early)).toMatchObject({ code: 'SIGNATURE_REJECTED' })
    queue.agents.set('alice', alice.record)
    await authority.setMembers('orders', ['bob'])
    expect(await channels.publish(call, early)).toMatchObject({ code: 'NOT_PERMITTED' })
    expect((await store.stats()).map(({ messages }) => messages)).not.toContain(1)
  })

  test('a message of another sender, channel, epoch, suite or time is refused [queue:sender-proved]', async () => {
    await create(alice, bob)
    expect(await publishAs('alice', sealAs(alice).bytes)).toBe('PUBLISHED')
    expect(await publishAs('bob', sealAs(alice).bytes)).toBe('SIGNATURE_REJECTED')
    expect(await publishAs('alice', sealAs(alice, { channel: 'other' }).bytes)).toBe(
      'SIGNATURE_REJECTED',
    )
    expect(await publishAs('alice', sealAs(alice, { epoch: 2 }).bytes)).toBe('EPOCH_STALE')
    expect(await publishAs('alice', sealAs(alice, { suite: 2 }).bytes)).toBe('VERSION_UNSUPPORTED')
    expect(await publishAs('carol', sealAs(carol).bytes)).toBe('NOT_PERMITTED')
    const late = sealAs(alice, { lifetimeMs: 10 }).bytes
    open.queue.now += 10
    expect(await publishAs('alice', late)).toBe('MESSAGE_MALFORMED')
    open.queue.now += 3_600_000
    const early = sealAs(alice).bytes
    open.queue.now -= 3_600_000
    expect(await publishAs('alice', early)).toBe('MESSAGE_MALFORMED')
  })

  test('an epoch that ends while signatures are checked ends for what they sign [queue:epochs]', async () => {
    await create(alice, bob, carol)
    const publishing = publishAs('alice', sealAs(alice).bytes, sealAs(alice).bytes)
    await open.authority.setMembers('orders', ['alice', 'bob'])
    expect(await publishing).toBe('EPOCH_STALE')
    expect((await open.store.stats())[0]?.messages ?? 0).toBe(0)
  })

  test('a sender that enrols again while signatures are checked stores nothing under its old key', async () => {
    await create(alice, bob)
    const publishing = publishAs('alice', sealAs(alice).bytes)
    const { record } = alice
    const signing = { ...carol.record.keys.signing, keyId: 'alice-later' }
    open.queue.agents.set('alice', { ...record, keys: { ...record.keys, signing }, generation: 1 })
    expect(await publishing).toBe('SIGNATURE_REJECTED')
    expect((await open.store.stats())[0]?.messages ?? 0).toBe(0)
  })

  test('a message that expires while signatures are checked is not stored', async () => {
    await create(alice, bob)
    const publishing = publishAs('alice', sealAs(alice, { lifetimeMs: 10 }).bytes)
    open.queue.now += 10
    expect(await publishing).toBe('MESSAGE_MALFORMED')
    expect((await open.store.stats())[0]?.messages ?? 0).toBe(0)
  })

  test('once a list has changed, nothing of an earlier epoch is stored any more [queue:epochs]', async () => {
    await create(alice, bob, carol)
    const { store, authority } = open
    const events: string[] = []
    const begun = Promise.withResolvers<void>()
    const written = Promise.withResolvers<void>()
    const publish = store.publish.bind(store)
    const writing = vi.spyOn(store, 'publish').mockImplementationOnce(async (orders) => {
      begun.resolve()
      await written.promise
      const results = await publish(orders)
      events.push('stored')
      return results
    })
    const publishing = publishAs('alice', sealAs(alice).bytes)
    await begun.promise
    const moving = authority.setMembers('orders', ['alice', 'bob']).then(() => {
      events.push('changed')
    })
    await expect.poll(() => authority.find('orders')?.epoch).toBe(2)
    // The new epoch is in force: what comes now is refused, and what came before is awaited.
    expect(await publishAs('alice', sealAs(alice).bytes)).toBe('EPOCH_STALE')
    expect(events).toEqual([])
    written.resolve()
    expect(await publishing).toBe('PUBLISHED')
    await moving
    expect(events).toEqual(['stored', 'changed'])
    writing.mockRestore()
  })

  test('a write that fails holds no change of the list up', async () => {
    await create(alice, bob)
    const writing = vi.spyOn(open.store, 'publish').mockRejectedValueOnce(new Error('EIO'))
    await expect(publishAs('alice', sealAs(alice).bytes)).rejects.toThrow('EIO')
    writing.mockRestore()
    expect(await open.authority.setMembers('orders', ['alice'])).toMatchObject({ epoch: 2 })
  })

  test('one swapped byte in one of two messages refuses both', async () => {
    await create(alice, bob)
    const swapped = sealAs(alice).bytes.slice()
    swapped[swapped.length - 100] = (swapped[swapped.length - 100] ?? 0) ^ 1
    expect(await publishAs('alice', sealAs(alice).bytes, swapped)).toBe('SIGNATURE_REJECTED')
    expect((await open.store.stats())[0]?.messages ?? 0).toBe(0)
    expect(await publishAs('alice', utf8('not sealed'))).toBe('MESSAGE_MALFORMED')
    expect(await publishAs('alice')).toBe('MESSAGE_MALFORMED')
  })

  test('a key message that leaves a member out, lets one in or comes from another agent is refused', async () => {
    await create(alice, bob)
    const signed = await open.authority.findDescriptor('orders', 1)
    const members = parseDescriptor(signed?.payload ?? new Uint8Array())?.members ?? []
    const { sealer } = sealAs(alice)
    const put = async (caller: string, bytes: Uint8Array) =>
      (await open.channels.putKey({ channel: 'orders', caller, ...entitled }, bytes))?.code ??
      'TAKEN'
    const complete = await sealer.keyMessage(members)
    const outsider = { ...carol.record.keys, name: 'carol' }
    const third = { ...outsider, sealing: { ...outsider.sealing, suite: 1 } }
    expect(await put('alice', await sealer.keyMessage(members.slice(0, 1)))).toBe('EPOCH_STALE')
    expect(await put('alice', await sealer.keyMessage([...members, third]))).toBe('EPOCH_STALE')
    expect(await put('bob', complete)).toBe('SIGNATURE_REJECTED')
    const forged = complete.slice()
    forged[40] = (forged[40] ?? 0) ^ 1
    expect(await put('alice', forged)).toBe('SIGNATURE_REJECTED')
    expect(await put('alice', complete)).toBe('TAKEN')
    expect(await put('alice', complete)).toBe('CHANNEL_FULL')
  })

  test('an acknowledgement holds only under the countersignature of its receiver, over its verdict', async () => {
    await create(alice, bob, carol)
    await channelOf(alice).send('x')
    let body = new Uint8Array()
    const receiver = channelOf(bob, (request) => async (...call) => {
      if (call[1].endsWith('/settlements')) body = new Uint8Array(call[3] ?? [])
      return call[1].endsWith('/settlements')
        ? toReply(new Refusal('UNDECIDED', ''))
        : request(...call)
    })
    const [message] = await receiver.receive(now)
    await expect(message?.ack()).rejects.toMatchObject({ code: 'UNDECIDED' })
    const settlement = parseSettlement(body)
    const [item] = settlement?.items ?? []
    if (settlement === null || item === undefined) throw new Error('no settlement')
    const settleAs = async (caller: string, changed: typeof settlement) => {
      const parsed = parseSettlement(encodeSettlement(changed))
      if (parsed === null) throw new Error('did not parse')
      const answer = await settle(open.channels, { channel: 'orders', caller, ...entitled }, parsed)
      return answer instanceof Refusal ? answer.code : answer.settled
    }
    const dead = [{ ...item, verdict: 'reject' as const, reason: 'no' }]
    expect(await settleAs('bob', { ...settlement, items: dead })).toBe('SIGNATURE_REJECTED')
    expect(await settleAs('bob', { ...settlement, group: 'h' })).toBe('SIGNATURE_REJECTED')
    expect(await settleAs('carol', settlement)).toBe('SIGNATURE_REJECTED')
    expect(await settleAs('bob', { ...settlement, items: [{ ...item, offset: 9 }] })).toBe(
      'LEASE_LOST',
    )
    // A receiver that changes its key after the check has countersigned with none of its own.
    const call = { channel: 'orders', caller: 'bob', ...entitled }
    const verified = await open.channels.checks.settlement(call, settlement)
    if (verified instanceof Refusal) throw new Error(verified.detail)
    const other = { ...bob.record.keys, signing: { ...bob.record.keys.signing, keyId: 'new' } }
    open.queue.agents.set('bob', { ...bob.record, keys: other })
    expect(await open.channels.settle(call, verified)).toMatchObject({ code: 'SIGNATURE_REJECTED' })
    open.queue.agents.set('bob', bob.record)
    expect(await settleAs('bob', settlement)).toEqual([true])
    expect(await settleAs('bob', settlement)).toEqual([false])
  })

  test('a message changed in the store is never handed over, and is a dead letter with its reason', async () => {
    await create(alice, bob)
    await channelOf(alice).send('ten')
    const receiver = channelOf(bob, (request) => async (...call) => {
      const reply = await request(...call)
      if (!call[1].endsWith('/leases') || reply.body.length === 0) return reply
      const body = reply.body.slice()
      body[body.length - 1] = (body[body.length - 1] ?? 0) ^ 1
      return { ...reply, body }
    })
    expect(await receiver.receive(now)).toEqual([])
    // The receiver countersigned what it saw, which is not what the broker holds: that is refused
    // too.
    expect(await open.store.dead('orders', 10)).toEqual([])
    const [again] = await channelOf(bob).receive({ ...now, group: 'other' })
    expect(text(again?.body)).toBe('ten')
  })

  test('a message that a receiver cannot open goes to the dead letters with its reason [queue:dead-letter]', async () => {
    await create(alice, bob)
    // No key message was ever put in the log.
    expect(await publishAs('alice', sealAs(alice).bytes)).toBe('PUBLISHED')
    const expiring = await channelOf(alice).send('too late', { lifetimeMs: 5000 })
    expect(expiring.offset).toBe(2)
    const slow = { ...open.queue.clock, now: () => open.queue.now + 10_000 }
    const receiver = openChannel({
      name: 'orders',
      identity: bob.identity,
      request: requestAs('bob', () => open),
      authority: { keyId: 'fabric', publicKey: fabric.publicKey },
      clock: slow,
    })
    expect(await receiver.receive(now)).toEqual([])
    const dead = await open.store.dead('orders', 10)
    expect(dead.map(({ reason }) => reason)).toEqual([
      'bob: UNKNOWN_KEY: not in the key log',
      'bob: EXPIRED',
    ])
  })

  test('a descriptor that the fabric did not sign, or an older one, is not acted on', async () => {
    await create(alice, bob)
    const old = await open.authority.findDescriptor('orders', 1)
    if (old === null) throw new Error('no descriptor')
    let replay = false
    const sender = channelOf(alice, (request) => async (...call) => {
      if (!replay || call[0] !== 'GET') return request(...call)
      return toReply(encodeSignedDescriptor(old))
    })
    await sender.send('one')
    await open.authority.setMembers('orders', ['alice', 'carol'])
    await sender.send('two')
    await open.authority.setMembers('orders', ['alice', 'bob', 'carol'])
    replay = true
    await expect(sender.send('three')).rejects.toMatchObject({ code: 'ANSWER_MALFORMED' })
    const forged = { ...old, signature: new Uint8Array(64) }
    const fooled = channelOf(
      bob,
      (request) =>
        async (...call) =>
          call[0] === 'GET' ? toReply(encodeSignedDescriptor(forged)) : request(...call),
    )
    await expect(fooled.send('x')).rejects.toMatchObject({ code: 'ANSWER_MALFORMED' })
  })
})
