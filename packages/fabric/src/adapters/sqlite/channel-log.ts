import type { DatabaseSync } from 'node:sqlite'
import type {
  ChannelStats,
  DeadLetter,
  LeaseCommand,
  PublishCommand,
  PublishResult,
  Settle,
} from '../../channels/channel-store.ts'
import type { ChannelLimits, LeasedItem } from './channel-command.ts'
import { CHANNELS_MAX, NEVER, OFFSETS_PER_CHANNEL, PLACES_FROM } from './channel-schema.ts'
import {
  type ChannelRow,
  type DeliveryRow,
  type GroupRow,
  type MessageRow,
  prepareStatements,
  type Statements,
} from './channel-statements.ts'

/**
 * Rows that one lease may look at before it gives what it has: parked messages make it look
 * further.
 */
const leaseScanMax = 1024
/** Rows that one statement goes through, of which one lies in memory at a time. */
const leaseChunk = 64

/** Groups of one channel: each keeps what it has not settled from being swept. */
const groupsMax = 256

/** Rows of `channel` and `consumer_group` as they will be after the open transaction. */
interface Channel {
  readonly id: number
  readonly name: string
  readonly groups: Map<string, Group>
  lastOffset: number
  messages: number
  bytes: number
}

interface Group {
  readonly id: number
  readonly name: string
  /** Every offset up to here was leased at least once, parked or dead-lettered. */
  cursor: number
  /**
   * The last place that was given to a message which was passed over; null before it is asked for.
   */
  lastPlace: number | null
}

export interface LeasedMessage extends Omit<LeasedItem, 'sealed'> {
  readonly sealed: Uint8Array
}

export interface LeaseFound {
  readonly messages: readonly LeasedMessage[]
  /** There are new messages that it did not look at. */
  readonly goesOn: boolean
}

/**
 * The log and its delivery state, in SQL. Runs in one thread, inside of transactions that its
 * caller opens and commits; whatever it throws means that the file can no longer be trusted to
 * this process. Times come in with every call.
 */
export class ChannelLog {
  readonly #sql: Statements
  readonly #channels = new Map<string, Channel>()
  /** Written back by `flush`, just before the commit. */
  readonly #dirtyChannels = new Set<Channel>()
  readonly #dirtyGroups = new Set<Group>()
  #hasBuried = false

  constructor(database: DatabaseSync) {
    this.#sql = prepareStatements(database)
    const byId = new Map<number, Channel>()
    for (const row of this.#sql.channels.all()) {
      const { id, name, last_offset, messages, bytes } = row as unknown as ChannelRow
      const channel = { id, name, groups: new Map(), lastOffset: last_offset, messages, bytes }
      byId.set(id, channel)
      this.#channels.set(name, channel)
    }
    for (const row of this.#sql.groups.all()) {
      const { id, channel, name, cursor } = row as unknown as GroupRow
      byId.get(channel)?.groups.set(name, { id, name, cursor, lastPlace: null })
    }
  }

  publish(order: PublishCommand, limits: ChannelLimits): PublishResult {
    const channel = this.#channelOf(order.channel)
    const { id } = channel
    const seen = this.#sql.findDedup.get(id, order.idempotencyHash, order.now)
    if (seen !== undefined) {
      const { content, offset } = seen as unknown as { content: string; offset: number }
      return content === order.contentHash ? { state: 'duplicate', offset } : { state: 'conflict' }
    }
    const size = order.sealed.length
    if (channel.messages >= limits.messagesMax || channel.bytes + size > limits.bytesMax) {
      return { state: 'full' }
    }
    const offset = channel.lastOffset + 1
    if (offset >= OFFSETS_PER_CHANNEL) throw new Error('the channel has no offsets left')
    const { now, expiresAt, messageId, orderingHash } = order
    const key = keyOf(id, offset)
    this.#sql.putMessage.run(key, now, expiresAt, size, messageId, orderingHash, order.sealed)
    const until = now + limits.dedupMs
    this.#sql.putDedup.run(id, order.idempotencyHash, order.contentHash, offset, until)
    channel.lastOffset = offset
    channel.messages += 1
    channel.bytes += size
    this.#dirtyChannels.add(channel)
    return { state: 'stored', offset }
  }

  /**
   * Overdue deliveries first, then what the group has not seen, then what was passed over; every
   * attempt is counted here.
   */
  lease(order: LeaseCommand, token: string, limits: ChannelLimits): LeaseFound {
    const channel = this.#channelOf(order.channel)
    const group = this.#groupOf(channel, order.group)
    if (group === null) return { messages: [], goesOn: false }
    const leased = new LeaseBasket(order)
    const leasing = { order, token, leased, attemptsMax: limits.attemptsMax }
    const { after, first } = order.passedOver ?? { after: 0, first: false }
    if (first) this.#leasePassedOver(channel, group, leasing, after)
    const due = this.#sql.dueDeliveries.all(group.id, order.now, order.countMax)
    this.#leaseAgain(channel, group, leasing, due)
    const goesOn = this.#leaseNew(channel, group, leasing)
    if (!first) this.#leasePassedOver(channel, group, leasing, after)
    return { messages: leased.messages, goesOn }
  }

  #nextPlaceOf(group: Group): number {
    group.lastPlace = this.#lastPlaceOf(group) + 1
    return group.lastPlace
  }

  #leasePassedOver(channel: Channel, group: Group, leasing: Leasing, after: number): void {
    const { left } = leasing.leased
    if (left === 0 || after >= this.#lastPlaceOf(group)) return
    const rows = this.#sql.passedOver.all(group.id, PLACES_FROM + after, NEVER, left)
    this.#leaseAgain(channel, group, leasing, rows)
  }

  #leaseAgain(
    channel: Channel,
    group: Group,
    { order: { now, leaseMs }, token, leased, attemptsMax }: Leasing,
    rows: readonly unknown[],
  ): void {
    for (const row of rows) {
      if (leased.left === 0) break
      const delivery = row as DeliveryRow
      const { offset, due } = delivery
      const message = this.#findMessage(channel, offset)
      if (message === null) {
        this.#release(group, delivery, now)
      } else if (message.expires_at <= now) {
        this.#deadLetter(channel, group, { delivery, message, reason: 'EXPIRED', now })
      } else if (delivery.attempts >= attemptsMax) {
        this.#deadLetter(channel, group, { delivery, message, reason: 'ATTEMPTS_EXHAUSTED', now })
      } else if (!leased.fits(message)) {
        break
      } else {
        const attempt = delivery.attempts + 1
        this.#sql.updateDelivery.run(now + leaseMs, token, attempt, group.id, offset)
        const place = due > PLACES_FROM ? due - PLACES_FROM : null
        leased.add({ ...toLeased(message, offset, attempt), place })
      }
    }
  }

  /** No messages were passed over where it is 0, which is the case of nearly every group. */
  #lastPlaceOf(group: Group): number {
    if (group.lastPlace === null) {
      const due = Number(this.#sql.lastPlace.get(group.id, NEVER)?.['due'] ?? 0)
      group.lastPlace = Math.max(0, due - PLACES_FROM)
    }
    return group.lastPlace
  }

  /** True when it ended at the bound and not at the last message. */
  #leaseNew(channel: Channel, group: Group, { order, token, leased }: Leasing): boolean {
    const { now } = order
    const last = keyOf(channel.id, channel.lastOffset)
    let scanned = 0
    while (leased.left > 0 && scanned < leaseScanMax) {
      const missing = Math.min(leased.left, leaseChunk)
      const from = keyOf(channel.id, group.cursor)
      let rows = 0
      for (const row of this.#sql.messagesAfter.iterate(from, last, missing)) {
        const message = row as unknown as MessageRow
        if (leased.left === 0 || !leased.fits(message)) break
        rows += 1
        const offset = message.key - keyOf(channel.id, 0)
        const { ordering } = message
        const fresh = { offset, due: NEVER, token: null, attempts: 0, ordering }
        if (message.expires_at <= now) {
          this.#deadLetter(channel, group, { delivery: fresh, message, reason: 'EXPIRED', now })
        } else if (
          ordering !== null &&
          this.#sql.findOrdering.get(group.id, ordering) !== undefined
        ) {
          this.#sql.putDelivery.run(group.id, offset, NEVER, null, 0, ordering)
        } else {
          this.#sql.putDelivery.run(group.id, offset, now + order.leaseMs, token, 1, ordering)
          leased.add(toLeased(message, offset, 1))
        }
        group.cursor = offset
      }
      scanned += rows
      if (rows > 0) this.#dirtyGroups.add(group)
      if (rows < missing) return false
    }
    return leased.left > 0
  }

  settle(order: Settle, attemptsMax: number): boolean {
    const channel = this.#channels.get(order.channel)
    const group = channel?.groups.get(order.group)
    if (channel === undefined || group === undefined) return false
    const row = this.#sql.findDelivery.get(group.id, order.offset)
    const delivery = row === undefined ? null : (row as unknown as DeliveryRow)
    // Fencing: only the present holder, and only while its lease lasts, may settle the message.
    if (delivery === null || delivery.token !== order.leaseToken) return false
    if (delivery.due <= order.now) return false
    if (order.verdict === 'ack') {
      this.#release(group, delivery, order.now)
    } else if (order.verdict === 'return' || order.verdict === 'pass') {
      const attempts = Math.max(delivery.attempts - 1, 0)
      const due =
        order.verdict === 'return'
          ? order.now + order.delayMs
          : PLACES_FROM + (order.place ?? this.#nextPlaceOf(group))
      this.#sql.updateDelivery.run(due, null, attempts, group.id, order.offset)
    } else if (order.verdict === 'nack' && delivery.attempts < attemptsMax) {
      const due = order.now + order.delayMs
      this.#sql.updateDelivery.run(due, null, delivery.attempts, group.id, order.offset)
    } else {
      const reason = order.verdict === 'reject' ? order.reason : 'ATTEMPTS_EXHAUSTED'
      const message = this.#findMessage(channel, order.offset)
      this.#deadLetter(channel, group, { delivery, message, reason, now: order.now })
    }
    return true
  }

  dead(name: string, countMax: number): readonly DeadLetter[] {
    const channel = this.#channels.get(name)
    if (channel === undefined) return []
    return this.#sql.deadLetters.all(channel.id, countMax).map((row) => {
      const letter = row as unknown as Omit<DeadLetter, 'channel' | 'messageId'> & {
        message_id: string
      }
      const { group, offset, message_id: messageId, attempts, reason, at } = letter
      return { channel: name, group, offset, messageId, attempts, reason, at }
    })
  }

  redrive({ channel: name, group: groupName, offset, now }: Redrive): boolean {
    const channel = this.#channels.get(name)
    const group = channel?.groups.get(groupName)
    if (channel === undefined || group === undefined) return false
    const message = this.#findMessage(channel, offset)
    if (message === null) return false
    if (this.#sql.dropDead.run(channel.id, offset, group.id).changes === 0) return false
    this.#sql.putDelivery.run(group.id, offset, now, null, 0, message.ordering)
    return true
  }

  find(name: string, offset: number): LeasedMessage | null {
    const channel = this.#channels.get(name)
    const message = channel === undefined ? null : this.#findMessage(channel, offset)
    return message === null ? null : toLeased(message, offset, 0)
  }

  stats(): readonly ChannelStats[] {
    return [...this.#channels.values()].map(({ id, name, messages, bytes, lastOffset }) => {
      const dead = Number(this.#sql.countDead.get(id)?.['count'])
      return { channel: name, messages, bytes, dead, lastOffset }
    })
  }

  /** Writes the counters back; the caller commits right after it. */
  flush(): void {
    for (const { id, lastOffset, messages, bytes } of this.#dirtyChannels) {
      this.#sql.saveChannel.run(lastOffset, messages, bytes, id)
    }
    for (const { id, cursor } of this.#dirtyGroups) this.#sql.saveGroup.run(cursor, id)
    this.#dirtyChannels.clear()
    this.#dirtyGroups.clear()
  }

  /** Reports whether anything became a dead letter since the last call. */
  takeBuried(): boolean {
    const hasBuried = this.#hasBuried
    this.#hasBuried = false
    return hasBuried
  }

  /** For the sweeper: the channels with their groups, live. */
  get channels(): Iterable<Readonly<Channel>> {
    return this.#channels.values()
  }

  /** The sweeper removed that much. */
  forget(name: string, messages: number, bytes: number): void {
    const channel = this.#channels.get(name)
    if (channel === undefined) return
    channel.messages -= messages
    channel.bytes -= bytes
    this.#dirtyChannels.add(channel)
  }

  /** Removes a message whose time is over; where a group never settled it, it is a dead letter. */
  expire(name: string, offset: number, now: number): void {
    const channel = this.#channels.get(name)
    const message = channel === undefined ? null : this.#findMessage(channel, offset)
    if (channel === undefined || message === null) return
    this.#buryEverywhere(channel, message, { offset, now })
    this.#sql.dropMessage.run(message.key)
    this.forget(name, 1, message.size)
  }

  #buryEverywhere(
    channel: Channel,
    message: MessageRow,
    { offset, now }: { offset: number; now: number },
  ): void {
    for (const group of channel.groups.values()) {
      const row = this.#sql.findDelivery.get(group.id, offset)
      if (row === undefined && offset <= group.cursor) continue
      const { ordering } = message
      const fresh = { offset, due: NEVER, token: null, attempts: 0, ordering }
      const delivery = row === undefined ? fresh : (row as unknown as DeliveryRow)
      this.#deadLetter(channel, group, { delivery, message, reason: 'EXPIRED', now })
    }
  }

  /** Takes it out of the group's work and into the dead letters, in the one open transaction. */
  #deadLetter(
    channel: Channel,
    group: Group,
    { delivery, message, reason, now }: DeadLetterCause,
  ): void {
    const { offset, attempts } = delivery
    const messageId = message?.message_id ?? ''
    this.#sql.putDead.run(channel.id, group.id, offset, messageId, attempts, reason, now)
    this.#hasBuried = true
    this.#release(group, delivery, now)
  }

  /**
   * Removes a delivery; the next message of the same ordering key, if one is parked, becomes due.
   */
  #release(group: Group, delivery: DeliveryRow, now: number): void {
    this.#sql.dropDelivery.run(group.id, delivery.offset)
    if (delivery.ordering !== null) this.#sql.unpark.run(now, group.id, delivery.ordering, NEVER)
  }

  #findMessage(channel: Channel, offset: number): MessageRow | null {
    if (offset < 1 || offset > channel.lastOffset) return null
    const row = this.#sql.findMessage.get(keyOf(channel.id, offset))
    return row === undefined ? null : (row as unknown as MessageRow)
  }

  #channelOf(name: string): Channel {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    if (this.#channels.size >= CHANNELS_MAX) throw new Error('too many channels')
    const id = Number(this.#sql.putChannel.run(name).lastInsertRowid)
    const channel = { id, name, groups: new Map(), lastOffset: 0, messages: 0, bytes: 0 }
    this.#channels.set(name, channel)
    return channel
  }

  #groupOf(channel: Channel, name: string): Group | null {
    const known = channel.groups.get(name)
    if (known !== undefined) return known
    if (channel.groups.size >= groupsMax) return null
    const id = Number(this.#sql.putGroup.run(channel.id, name).lastInsertRowid)
    const group = { id, name, cursor: 0, lastPlace: null }
    channel.groups.set(name, group)
    return group
  }
}

/** The messages that one lease has so far, and how many more it may take. */
class LeaseBasket {
  readonly messages: LeasedMessage[] = []
  readonly #countMax: number
  readonly #bytesMax: number
  #bytes = 0
  #isFull = false

  constructor({ countMax, bytesMax }: Pick<LeaseCommand, 'countMax' | 'bytesMax'>) {
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  get left(): number {
    return this.#isFull ? 0 : this.#countMax - this.messages.length
  }

  /** Once a message does not fit, none behind it does: what is smaller does not overtake. */
  fits({ size }: Pick<MessageRow, 'size'>): boolean {
    this.#isFull ||= this.messages.length > 0 && this.#bytes + size > this.#bytesMax
    return !this.#isFull
  }

  add(message: LeasedMessage): void {
    this.messages.push(message)
    this.#bytes += message.sealed.length
  }
}

interface Leasing {
  readonly order: LeaseCommand
  readonly token: string
  readonly leased: LeaseBasket
  readonly attemptsMax: number
}

interface Redrive {
  readonly channel: string
  readonly group: string
  readonly offset: number
  readonly now: number
}

interface DeadLetterCause {
  readonly delivery: DeliveryRow
  readonly message: MessageRow | null
  readonly reason: string
  readonly now: number
}

export function keyOf(channel: number, offset: number): number {
  return channel * OFFSETS_PER_CHANNEL + offset
}

function toLeased(message: MessageRow, offset: number, attempt: number): LeasedMessage {
  const { message_id: messageId, stored_at: storedAt, expires_at: expiresAt, sealed } = message
  return { offset, messageId, storedAt, expiresAt, attempt, place: null, sealed }
}
