import type { DatabaseSync, StatementSync } from 'node:sqlite'

/** Rows as SQLite gives them; the column names are those of `channel-schema.ts`. */
export interface MessageRow {
  readonly key: number
  readonly stored_at: number
  readonly expires_at: number
  readonly size: number
  readonly message_id: string
  readonly ordering: string | null
  readonly sealed: Uint8Array
}

export interface DeliveryRow {
  readonly offset: number
  readonly due: number
  readonly token: string | null
  readonly attempts: number
  readonly ordering: string | null
}

export interface ChannelRow {
  readonly id: number
  readonly name: string
  readonly last_offset: number
  readonly messages: number
  readonly bytes: number
}

export interface GroupRow {
  readonly id: number
  readonly channel: number
  readonly name: string
  readonly cursor: number
}

export type Statements = ReturnType<typeof prepareStatements>

/** Every statement of the log, prepared once. */
export function prepareStatements(database: DatabaseSync) {
  const prepare = (sql: string): StatementSync => database.prepare(sql)
  const deliveryColumns = 'offset, due, token, attempts, ordering'
  return {
    channels: prepare('SELECT id, name, last_offset, messages, bytes FROM channel'),
    groups: prepare('SELECT id, channel, name, cursor FROM consumer_group'),
    putChannel: prepare(
      'INSERT INTO channel (name, last_offset, messages, bytes) VALUES (?, 0, 0, 0)',
    ),
    saveChannel: prepare(
      'UPDATE channel SET last_offset = ?, messages = ?, bytes = ? WHERE id = ?',
    ),
    putGroup: prepare('INSERT INTO consumer_group (channel, name, cursor) VALUES (?, ?, 0)'),
    saveGroup: prepare('UPDATE consumer_group SET cursor = ? WHERE id = ?'),
    findDedup: prepare(
      'SELECT content, offset FROM dedup WHERE channel = ? AND hash = ? AND expires_at > ?',
    ),
    putDedup: prepare('INSERT OR REPLACE INTO dedup VALUES (?, ?, ?, ?, ?)'),
    putMessage: prepare('INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)'),
    findMessage: prepare('SELECT * FROM message WHERE key = ?'),
    dropMessage: prepare('DELETE FROM message WHERE key = ?'),
    messagesAfter: prepare('SELECT * FROM message WHERE key > ? AND key <= ? ORDER BY key LIMIT ?'),
    dueDeliveries: prepare(
      `SELECT ${deliveryColumns} FROM delivery WHERE grp = ? AND due <= ? ORDER BY due LIMIT ?`,
    ),
    passedOver: prepare(
      `SELECT ${deliveryColumns} FROM delivery WHERE grp = ? AND due > ? AND due < ? ORDER BY due LIMIT ?`,
    ),
    lastPlace: prepare('SELECT max(due) AS due FROM delivery WHERE grp = ? AND due < ?'),
    findDelivery: prepare(`SELECT ${deliveryColumns} FROM delivery WHERE grp = ? AND offset = ?`),
    findOrdering: prepare('SELECT 1 FROM delivery WHERE grp = ? AND ordering = ? LIMIT 1'),
    putDelivery: prepare('INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?)'),
    updateDelivery: prepare(
      'UPDATE delivery SET due = ?, token = ?, attempts = ? WHERE grp = ? AND offset = ?',
    ),
    dropDelivery: prepare('DELETE FROM delivery WHERE grp = ? AND offset = ?'),
    unpark: prepare(
      `UPDATE delivery SET due = ?1 WHERE grp = ?2 AND due = ?4 AND offset =
        (SELECT min(offset) FROM delivery WHERE grp = ?2 AND ordering = ?3)`,
    ),
    putDead: prepare('INSERT OR REPLACE INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?)'),
    dropDead: prepare('DELETE FROM dead_letter WHERE channel = ? AND offset = ? AND grp = ?'),
    countDead: prepare('SELECT count(*) AS count FROM dead_letter WHERE channel = ?'),
    deadLetters: prepare(
      `SELECT g.name AS "group", d.offset, d.message_id, d.attempts, d.reason, d.at
        FROM dead_letter d JOIN consumer_group g ON g.id = d.grp
        WHERE d.channel = ? ORDER BY d.offset LIMIT ?`,
    ),
  }
}
