import {
  type ChannelMember,
  descriptorSignatureInput,
  encodeDescriptor,
  equalBytes,
  isChannelName,
  isReservedName,
  KEY_MEMBERS_MAX,
  parseDescriptor,
  type SignedDescriptor,
  utf8,
} from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import type { AgentRecord } from '../identity/directory.ts'
import type { Clock } from '../lib/clock.ts'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import type { ChannelBounds, ChannelRecord, ChannelRecords } from './channel-records.ts'

/** Below what the store numbers, so that no request can meet that bound. */
const channelsMax = 10_000
const channelsLimit = { name: 'queue.channels', value: channelsMax, unit: 'count' } as const

export const CHANNEL_BOUNDS_DEFAULT: ChannelBounds = {
  messagesMax: 1_000_000,
  bytesMax: 4 * 1024 * 1024 * 1024,
  messageBytesMax: 1024 * 1024 + 4096,
  attemptsMax: 5,
  dedupMs: 10 * 60 * 1000,
  retentionMs: 7 * 24 * 60 * 60 * 1000,
}

const leaseKeyContext = utf8('countersign-lease-key-v1\0')

/** Suite 1 only, until every enrolled agent has a key of another one. */
const suites: readonly number[] = [1]

export interface ChannelAuthorityOptions {
  readonly records: ChannelRecords
  /** The directory's `find`: reads must be synchronous and from memory. */
  readonly findAgent: (name: string) => AgentRecord | null
  readonly trustDomain: string
  readonly clock: Clock
  /** Ed25519, of the fabric: what members pin. */
  readonly signer: { readonly keyId: string; readonly sign: (bytes: Uint8Array) => Uint8Array }
}

export interface CreateChannel {
  readonly name: string
  readonly members: readonly string[]
  readonly bounds?: Partial<ChannelBounds>
}

/**
 * Decides who may open what a channel carries: a signed, versioned list of members and their keys.
 * The epoch is the version, and no message of an earlier one is accepted once the list has changed.
 */
export class ChannelAuthority {
  readonly #options: ChannelAuthorityOptions
  /** The durable records; written only by `#change`, which runs one at a time. */
  readonly #records = new Map<string, ChannelRecord>()
  /** Messages of the present epoch that are being written, by channel. */
  readonly #writes = new Map<string, Set<Promise<unknown>>>()
  readonly #changes = new Serializer()
  #statusVersion = 0

  static async open(options: ChannelAuthorityOptions): Promise<ChannelAuthority> {
    const authority = new ChannelAuthority(options)
    for (const record of await options.records.load()) authority.#records.set(record.name, record)
    // A key or a status may have changed while no listener was registered.
    for (const { name } of authority.list()) await authority.#refresh(name)
    return authority
  }

  private constructor(options: ChannelAuthorityOptions) {
    this.#options = options
  }

  /**
   * Another number after each change of an agent, so that what depends on one is looked at again.
   */
  get statusVersion(): number {
    return this.#statusVersion
  }

  find(name: string): ChannelRecord | null {
    return this.#records.get(name) ?? null
  }

  list(): readonly ChannelRecord[] {
    return [...this.#records.values()]
  }

  create({ name, members, bounds }: CreateChannel): Promise<ChannelRecord | Refusal> {
    return this.#changes.run(async () => {
      if (!isChannelName(name) || isReservedName(name))
        return new Refusal('MESSAGE_MALFORMED', 'the name of a channel')
      if (this.#records.has(name)) return new Refusal('IDEMPOTENCY_CONFLICT', `${name} exists`)
      if (this.#records.size >= channelsMax) return overLimit('RATE_LIMITED', channelsLimit)
      const refusal = this.#checkMembers(members)
      if (refusal !== null) return refusal
      return this.#commit({
        name,
        members: [...new Set(members)].toSorted(),
        epoch: 1,
        floor: 1,
        suites,
        bounds: { ...CHANNEL_BOUNDS_DEFAULT, ...bounds },
        createdAt: this.#options.clock.now(),
      })
    })
  }

  /**
   * Does `write`, which stores messages that the present epoch of the channel admits; called in the
   * turn in which that was checked. A change of the list waits for it: once that resolves, nothing
   * of an earlier epoch is stored any more.
   */
  async writing<T>(name: string, write: () => Promise<T>): Promise<T> {
    const writes = this.#writes.get(name) ?? new Set()
    const own = write()
    this.#writes.set(name, writes.add(own))
    try {
      return await own
    } finally {
      writes.delete(own)
      if (writes.size === 0 && this.#writes.get(name) === writes) this.#writes.delete(name)
    }
  }

  /** The next epoch, durable and in force when it resolves. */
  setMembers(name: string, members: readonly string[]): Promise<ChannelRecord | Refusal> {
    return this.#changes.run(async () => {
      const record = this.#records.get(name)
      if (record === undefined) return new Refusal('RECEIVER_UNKNOWN', `channel ${name}`)
      const refusal = this.#checkMembers(members)
      if (refusal !== null) return refusal
      return this.#commit(next({ ...record, members: [...new Set(members)].toSorted() }))
    })
  }

  /**
   * To be called after each change of an agent: its channels move on when its keys or status did.
   */
  async agentChanged(agent: string): Promise<void> {
    this.#statusVersion++
    const concerned = this.list().filter(({ members }) => members.includes(agent))
    for (const { name } of concerned) await this.#refresh(name)
  }

  /** Known to the fabric alone, and the same after a restart: leases outlive one. */
  leaseKey(): Uint8Array {
    // Ed25519 signs the same bytes alike (RFC 8032), and no other party can sign these.
    return this.#options.signer.sign(leaseKeyContext)
  }

  findDescriptor(name: string, epoch: number): Promise<SignedDescriptor | null> {
    return this.#options.records.findDescriptor(name, epoch)
  }

  /** The members who can take part now: active, and enrolled with keys. */
  participants(record: ChannelRecord): readonly ChannelMember[] {
    return record.members.flatMap((name) => {
      const agent = this.#options.findAgent(name)
      if (agent === null || agent.status !== 'active' || agent.keys === null) return []
      const { signing, sealing } = agent.keys
      return [{ name, signing, sealing: { ...sealing, suite: 1 } }]
    })
  }

  #refresh(name: string): Promise<void> {
    return this.#changes.run(async () => {
      const record = this.#records.get(name)
      if (record === undefined) return
      const stored = await this.#options.records.findDescriptor(name, record.epoch)
      const issued = stored === null ? null : parseDescriptor(stored.payload)
      // Described as of the same moment, it would be the same bytes: nothing has changed for
      // members.
      if (issued !== null && stored !== null) {
        if (equalBytes(this.#describe(record, issued.issuedAt), stored.payload)) return
      }
      await this.#commit(next(record))
    })
  }

  async #commit(record: ChannelRecord): Promise<ChannelRecord> {
    const { clock, records, signer } = this.#options
    const issuedAt = clock.now()
    const payload = this.#describe(record, issuedAt)
    const signature = signer.sign(descriptorSignatureInput(payload))
    const signed = { payload, keyId: signer.keyId, signature }
    if (!(await records.commit(record, signed, issuedAt))) {
      throw new Error(`channel ${record.name} was changed by another writer`)
    }
    this.#records.set(record.name, record)
    const writes = this.#writes.get(record.name)
    if (writes !== undefined) await Promise.allSettled(writes)
    await records.shred(record.name, issuedAt - record.bounds.retentionMs)
    return record
  }

  #describe(record: ChannelRecord, issuedAt: number): Uint8Array {
    return encodeDescriptor({
      trustDomain: this.#options.trustDomain,
      channel: record.name,
      epoch: record.epoch,
      floor: record.floor,
      suites: record.suites,
      members: this.participants(record),
      issuedAt,
    })
  }

  #checkMembers(members: readonly string[]): Refusal | null {
    if (members.length === 0 || members.length > KEY_MEMBERS_MAX) {
      return new Refusal('MESSAGE_MALFORMED', `a channel has 1 to ${KEY_MEMBERS_MAX} members`)
    }
    const unknown = members.find((name) => this.#options.findAgent(name) === null)
    return unknown === undefined ? null : new Refusal('RECEIVER_UNKNOWN', `agent ${unknown}`)
  }
}

/** The floor moves with the epoch: what a removed member could open is not accepted any more. */
function next(record: ChannelRecord): ChannelRecord {
  return { ...record, epoch: record.epoch + 1, floor: record.epoch + 1 }
}
