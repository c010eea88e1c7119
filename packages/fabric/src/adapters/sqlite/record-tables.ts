import type { DatabaseSync, StatementSync } from 'node:sqlite'
import {
  type BoundsOfRecords,
  RECORD_COLLECTIONS,
  type RecordBounds,
  type RecordCollection,
  sweepMax,
} from '../../state/record-store.ts'
import type { PutCommand, RemoveCommand } from './record-command.ts'
import { tableOf } from './record-schema.ts'

/** The writes of the record store, each inside of a transaction that the caller began. */
export class RecordTables {
  readonly #tables: ReadonlyMap<RecordCollection, RecordRows>

  constructor(database: DatabaseSync, bounds: BoundsOfRecords) {
    this.#tables = new Map(
      RECORD_COLLECTIONS.map((name) => [
        name,
        new RecordRows(database, tableOf(name), bounds[name]),
      ]),
    )
  }

  put(command: PutCommand): boolean {
    return this.#of(command.collection).put(command)
  }

  remove(command: RemoveCommand): boolean {
    return this.#of(command.collection).remove(command)
  }

  sweep(now: number): number {
    const each = Math.ceil(sweepMax / this.#tables.size)
    return [...this.#tables.values()].reduce((sum, rows) => sum + rows.sweep(now, each), 0)
  }

  #of(collection: RecordCollection): RecordRows {
    const found = this.#tables.get(collection)
    if (found === undefined) throw new RangeError(`no collection is named ${collection}`)
    return found
  }
}

interface Row {
  readonly sequence: number
  readonly owner: number
  readonly value: string
  readonly expires_at: number
}

class RecordRows {
  readonly #name: string
  readonly #bounds: RecordBounds
  readonly #statements: ReturnType<typeof statementsOf>

  constructor(database: DatabaseSync, name: string, bounds: RecordBounds) {
    this.#name = name
    this.#bounds = bounds
    this.#statements = statementsOf(database, name)
  }

  put({ key, value, owner, lifetimeMs, expected, now }: PutCommand): boolean {
    const row = this.#present(key, now)
    if (expected !== undefined && expected !== (row?.value ?? null)) return false
    if (row === null) this.#add({ key, value, owner }, now + lifetimeMs)
    else this.#statements.replace.run(value, now + lifetimeMs, row.sequence)
    return true
  }

  remove({ key, expected, now }: RemoveCommand): boolean {
    const row = this.#present(key, now)
    if (row === null || (expected ?? row.value) !== row.value) return false
    this.#delete(row)
    return true
  }

  sweep(now: number, max: number): number {
    const expired = rowsOf(this.#statements.expired, now, max)
    for (const row of expired) this.#delete(row)
    return expired.length
  }

  /** An expired row is deleted here, so that its key can be added anew. */
  #present(key: string, now: number): Row | null {
    const row = rowOf(this.#statements.find, key)
    if (row === null || row.expires_at > now) return row
    this.#delete(row)
    return null
  }

  #add(
    { key, value, owner }: { readonly key: string; readonly value: string; readonly owner: string },
    expiresAt: number,
  ): void {
    const { join, insert, oldest, largest, resizeAll } = this.#statements
    const share = join.get(owner)
    const id = Number(share?.['id'])
    insert.run(key, value, id, expiresAt)
    if (Number(share?.['size']) > this.#bounds.perOwnerMax) this.#delete(rowOf(oldest, id))
    const size = Number(resizeAll.get(1, this.#name)?.['size'])
    if (size <= this.#bounds.countMax) return
    this.#delete(rowOf(oldest, Number(largest.get()?.['id'])))
  }

  #delete(row: Row | null): void {
    if (row === null) return
    const { remove, leave, forget, resizeAll } = this.#statements
    remove.run(row.sequence)
    if (Number(leave.get(row.owner)?.['size']) === 0) forget.run(row.owner)
    resizeAll.get(-1, this.#name)
  }
}

function statementsOf(database: DatabaseSync, name: string) {
  const columns = 'sequence, owner, value, expires_at'
  return {
    find: database.prepare(`SELECT ${columns} FROM ${name} WHERE key = ?`),
    replace: database.prepare(`UPDATE ${name} SET value = ?, expires_at = ? WHERE sequence = ?`),
    insert: database.prepare(
      `INSERT INTO ${name} (key, value, owner, expires_at) VALUES (?, ?, ?, ?)`,
    ),
    remove: database.prepare(`DELETE FROM ${name} WHERE sequence = ?`),
    oldest: database.prepare(
      `SELECT ${columns} FROM ${name} WHERE owner = ? ORDER BY sequence LIMIT 1`,
    ),
    expired: database.prepare(
      `SELECT ${columns} FROM ${name} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?`,
    ),
    join: database.prepare(
      `INSERT INTO ${name}_owner (name, size) VALUES (?, 1)
       ON CONFLICT (name) DO UPDATE SET size = size + 1 RETURNING id, size`,
    ),
    leave: database.prepare(`UPDATE ${name}_owner SET size = size - 1 WHERE id = ? RETURNING size`),
    forget: database.prepare(`DELETE FROM ${name}_owner WHERE id = ?`),
    largest: database.prepare(`SELECT id FROM ${name}_owner ORDER BY size DESC LIMIT 1`),
    resizeAll: database.prepare(
      `UPDATE record_count SET size = size + ? WHERE collection = ? RETURNING size`,
    ),
  }
}

function rowOf(statement: StatementSync, of: string | number): Row | null {
  return (statement.get(of) as unknown as Row | undefined) ?? null
}

function rowsOf(statement: StatementSync, ...of: readonly number[]): readonly Row[] {
  return statement.all(...of) as unknown as readonly Row[]
}
