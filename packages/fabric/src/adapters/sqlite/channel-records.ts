import { closeSync, fsyncSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type SignedDescriptor, toHex } from '@countersign/protocol'
import type { ChannelRecord, ChannelRecords } from '../../channels/channel-records.ts'
import { SnapshotFault } from '../../lib/durable-file.ts'
import { makeFolder } from '../../lib/named-path.ts'
import { type Random, systemRandom } from '../../lib/random.ts'
import { dataFormat, otherFormat } from '../data-format.ts'
import { vacuumInto } from './snapshot.ts'

const schema = `
  CREATE TABLE folder (id TEXT NOT NULL) STRICT;
  CREATE TABLE record (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, value TEXT NOT NULL) STRICT;
  CREATE TABLE epoch (
    channel TEXT NOT NULL, epoch INTEGER NOT NULL, issued_at INTEGER NOT NULL,
    payload BLOB NOT NULL, key_id TEXT NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (channel, epoch)
  ) STRICT;
  CREATE TABLE key_message (
    channel TEXT NOT NULL, epoch INTEGER NOT NULL, sender TEXT NOT NULL, session TEXT NOT NULL,
    bytes BLOB NOT NULL, UNIQUE (channel, epoch, sender, session)
  ) STRICT;
`

/**
 * Channel records in a file of their own. Written on this thread: a membership change or a new
 * session is rare, and each is one small commit.
 */
export function openSqliteChannelRecords(
  directory: string,
  random: Random = systemRandom,
): ChannelRecords {
  makeFolder(directory)
  const database = new DatabaseSync(join(directory, 'channel-records.sqlite'))
  try {
    prepareDatabase(database, toHex(random(16)))
  } catch (error) {
    database.close()
    throw error
  }
  const descriptor = openSync(directory, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  return createRecords(database)
}

function prepareDatabase(database: DatabaseSync, newId: string): void {
  database.exec('PRAGMA locking_mode = EXCLUSIVE')
  database.exec('PRAGMA journal_mode = WAL')
  database.exec('PRAGMA synchronous = FULL')
  database.exec('PRAGMA trusted_schema = OFF')
  // Shredded keys have to leave the file, not only its index.
  database.exec('PRAGMA secure_delete = ON')
  if (database.prepare('PRAGMA synchronous').get()?.['synchronous'] !== 2) {
    throw new Error('SQLite does not keep what it commits')
  }
  const version = database.prepare('PRAGMA user_version').get()?.['user_version']
  if (version === dataFormat) return
  if (version !== 0) throw otherFormat('the record of channels', Number(version))
  database.exec(
    `BEGIN IMMEDIATE; ${schema} INSERT INTO folder VALUES ('${newId}');
     PRAGMA user_version = ${dataFormat}; COMMIT`,
  )
}

function createRecords(database: DatabaseSync): ChannelRecords {
  const sql = prepareStatements(database)

  return {
    folder: String(database.prepare('SELECT id FROM folder').get()?.['id']),

    async load() {
      return sql.records.all().map((row) => JSON.parse(String(row['value'])) as ChannelRecord)
    },

    async commit(record, { payload, keyId, signature }, issuedAt) {
      return inTransaction(database, () => {
        const stored = Number(sql.epochOf.get(record.name)?.['epoch'] ?? 0)
        if (stored !== record.epoch - 1) return false
        sql.putRecord.run(record.name, record.epoch, JSON.stringify(record))
        sql.putEpoch.run(record.name, record.epoch, issuedAt, payload, keyId, signature)
        return true
      })
    },

    async findDescriptor(channel, epoch) {
      const row = sql.findEpoch.get(channel, epoch)
      return row === undefined ? null : (row as unknown as SignedDescriptor)
    },

    async appendKey(channel, { epoch, sender, session, bytes }, { countMax, bytesMax }) {
      return inTransaction(database, () => {
        const { count, size } = sql.sizeOfKeys.get(channel, epoch) ?? {}
        if (Number(count) >= countMax || Number(size) + bytes.length > bytesMax) return false
        return Number(sql.putKey.run(channel, epoch, sender, session, bytes).changes) === 1
      })
    },

    async keyBytes(channel, epoch) {
      return Number(sql.sizeOfKeys.get(channel, epoch)?.['size'])
    },

    async keys(channel, epoch) {
      return sql.keys.all(channel, epoch).map((row) => row['bytes'] as Uint8Array)
    },

    async shred(channel, endedBefore) {
      inTransaction(database, () => {
        const last = sql.lastEndedBefore.get(channel, endedBefore)?.['epoch']
        if (typeof last !== 'number') return
        sql.dropKeys.run(channel, last)
        sql.dropEpochs.run(channel, last)
      })
      // Deleted rows would live on in the log until it is copied over.
      database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    },

    async snapshot(path) {
      const fault = vacuumInto(database, path)
      if (fault !== null) throw new SnapshotFault(fault)
    },

    async close() {
      if (database.isOpen) database.close()
    },
  }
}

function prepareStatements(database: DatabaseSync) {
  return {
    records: database.prepare('SELECT value FROM record ORDER BY name'),
    epochOf: database.prepare('SELECT epoch FROM record WHERE name = ?'),
    putRecord: database.prepare('INSERT OR REPLACE INTO record VALUES (?, ?, ?)'),
    putEpoch: database.prepare('INSERT INTO epoch VALUES (?, ?, ?, ?, ?, ?)'),
    findEpoch: database.prepare(
      'SELECT payload, key_id AS keyId, signature FROM epoch WHERE channel = ? AND epoch = ?',
    ),
    sizeOfKeys: database.prepare(
      `SELECT count(*) AS count, coalesce(sum(length(bytes)), 0) AS size
       FROM key_message WHERE channel = ? AND epoch = ?`,
    ),
    putKey: database.prepare('INSERT OR IGNORE INTO key_message VALUES (?, ?, ?, ?, ?)'),
    keys: database.prepare(
      'SELECT bytes FROM key_message WHERE channel = ? AND epoch = ? ORDER BY rowid',
    ),
    // An epoch ended when the next one was issued.
    lastEndedBefore: database.prepare(
      'SELECT max(epoch) - 1 AS epoch FROM epoch WHERE channel = ? AND issued_at < ?',
    ),
    dropKeys: database.prepare('DELETE FROM key_message WHERE channel = ? AND epoch <= ?'),
    dropEpochs: database.prepare('DELETE FROM epoch WHERE channel = ? AND epoch <= ?'),
  }
}

function inTransaction<T>(database: DatabaseSync, change: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = change()
    database.exec('COMMIT')
    return result
  } catch (error) {
    // A statement that failed may have ended the transaction by itself.
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}
