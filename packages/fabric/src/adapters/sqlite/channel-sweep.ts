import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { RETRY_DELAY_MS_MAX } from '@countersign/protocol'
import { type ChannelLog, keyOf } from './channel-log.ts'
import { PLACES_FROM } from './channel-schema.ts'

/**
 * One sweep looks at this many rows of each kind, so that no transaction holds the store for long.
 */
const rowsMax = 2000

interface SweepOrder {
  readonly now: number
  readonly deadRetentionMs: number
}

/**
 * Removes what will not be read again: messages that every group of their channel settled, expired
 * ones (their unfinished deliveries become dead letters), old dead letters, and dedup entries past
 * their window. A message that a dead letter can still bring back stays. A channel without groups
 * keeps everything until it expires, for the first group that comes.
 */
export class ChannelSweep {
  readonly #log: ChannelLog
  readonly #sql: Readonly<
    Record<'dedup' | 'oldDead' | 'floor' | 'settled' | 'scan' | 'clamp', StatementSync>
  >
  /** The offset at which the search for expired messages continues, by channel. */
  readonly #positions = new Map<number, number>()

  constructor(database: DatabaseSync, log: ChannelLog) {
    this.#log = log
    const noDeadLetter =
      'NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.channel = ?3 AND d.offset = m.key - ?4)'
    this.#sql = {
      dedup: database.prepare(
        `DELETE FROM dedup WHERE (channel, hash) IN
          (SELECT channel, hash FROM dedup WHERE expires_at <= ? LIMIT ${rowsMax})`,
      ),
      oldDead: database.prepare('DELETE FROM dead_letter WHERE at <= ?'),
      clamp: database.prepare('UPDATE delivery SET due = ? WHERE grp = ? AND due > ? AND due < ?'),
      floor: database.prepare('SELECT min(offset) AS floor FROM delivery WHERE grp = ?'),
      settled: database.prepare(
        `DELETE FROM message WHERE key IN
          (SELECT m.key FROM message m WHERE m.key > ?1 AND m.key <= ?2 AND ${noDeadLetter}
            ORDER BY m.key LIMIT ${rowsMax})
          RETURNING size`,
      ),
      scan: database.prepare(
        `SELECT key, expires_at FROM message WHERE key > ? AND key <= ? ORDER BY key LIMIT ${rowsMax}`,
      ),
    }
  }

  /** Returns the number of messages that it removed. */
  run({ now, deadRetentionMs }: SweepOrder): number {
    this.#sql.dedup.run(now)
    this.#sql.oldDead.run(now - deadRetentionMs)
    let removed = 0
    for (const channel of this.#log.channels) {
      this.#endLeasesOfAnotherClock(channel, now)
      const sizes = this.#dropSettled(channel)
      const bytes = sizes.reduce((sum, size) => sum + size, 0)
      if (sizes.length > 0) this.#log.forget(channel.name, sizes.length, bytes)
      const expired = this.#expired(channel, now)
      for (const offset of expired) this.#log.expire(channel.name, offset, now)
      removed += sizes.length + expired.length
    }
    return removed
  }

  /**
   * No lease and no delay is as long as this: the clock was ahead when it was given. Without this
   * the messages would come back only when the real time has caught up.
   */
  #endLeasesOfAnotherClock(channel: SweptChannel, now: number): void {
    for (const group of channel.groups.values()) {
      this.#sql.clamp.run(now, group.id, now + RETRY_DELAY_MS_MAX, PLACES_FROM)
    }
  }

  #dropSettled(channel: SweptChannel): readonly number[] {
    if (channel.groups.size === 0) return []
    let floor = channel.lastOffset
    for (const group of channel.groups.values()) {
      const oldest = this.#sql.floor.get(group.id)?.['floor']
      floor = Math.min(floor, typeof oldest === 'number' ? oldest - 1 : group.cursor)
    }
    const base = keyOf(channel.id, 0)
    const rows = this.#sql.settled.all(base, base + floor, channel.id, base)
    return rows.map((row) => Number(row['size']))
  }

  #expired(channel: SweptChannel, now: number): readonly number[] {
    const base = keyOf(channel.id, 0)
    const from = this.#positions.get(channel.id) ?? base
    const rows = this.#sql.scan.all(from, base + channel.lastOffset)
    const last = rows.at(-1)?.['key']
    // At the end it starts over: messages differ in how long they live.
    this.#positions.set(channel.id, rows.length < rowsMax ? base : Number(last))
    return rows
      .filter((row) => Number(row['expires_at']) <= now)
      .map((row) => Number(row['key']) - base)
  }
}

interface SweptChannel {
  readonly id: number
  readonly lastOffset: number
  readonly groups: ReadonlyMap<string, { readonly id: number; readonly cursor: number }>
}
