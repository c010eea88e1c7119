import {
  isAgentName,
  isReservedName,
  ListenerSet,
  parseBase64Url,
  toBase64Url,
} from '@countersign/protocol'
import { z } from 'zod'
import { Serializer } from '../concurrency/serializer.ts'
import type { StateStore } from '../state/state-store.ts'
import type { AgentRecord, Directory } from './directory.ts'
import { type JointChanges, noChanges } from './joint-changes.ts'

/** The directory as the identity module itself uses it. */
export interface StoredDirectory extends Directory {
  /**
   * Replaces the record of `name` with `change` of the present one (null when there is none), after
   * all earlier writes. `change` may give null to leave things as they are.
   */
  update(
    name: string,
    change: (present: AgentRecord | null) => AgentRecord | null,
  ): Promise<AgentRecord | null>
  /**
   * As `update`, durable together with other changes, which are asked for after `change`: all or
   * none. False when one of their expectations failed, or when `change` or `others` gave null.
   * Later writes wait for `others`, which must wait for none of them.
   */
  updateTogether(
    name: string,
    change: (present: AgentRecord | null) => AgentRecord | null,
    others: () => JointChanges | Promise<JointChanges | null>,
  ): Promise<boolean>
  /**
   * Commits changes that go by the records, in the order of their writes, so that none is made of a
   * record that is about to be replaced. False when an expectation failed.
   */
  commit(make: () => JointChanges): Promise<boolean>
}

/** A fabric of more agents than this needs another store than one that reads from memory. */
const agentsMax = 100_000

/** Reads every record, then answers from memory. Rejects when a stored record makes no sense. */
export async function openDirectory(store: StateStore): Promise<StoredDirectory> {
  const records = new Map<string, AgentRecord>()
  const namesByKey = new Map<string, string>()
  const listeners = new ListenerSet<AgentRecord>()

  const admit = (record: AgentRecord): void => {
    const before = records.get(record.name)?.keys
    if (before) namesByKey.delete(before.signing.keyId)
    records.set(record.name, record)
    if (record.keys) namesByKey.set(record.keys.signing.keyId, record.name)
  }
  for (const { table, value } of (await store.read()).rows) {
    if (table === 'agents') admit(parseRecord(value))
  }

  // So that listeners receive changes in the order in which they became durable.
  const writes = new Serializer()

  const write = async (record: AgentRecord, others: JointChanges): Promise<boolean> => {
    assertAdmissible(record, records, namesByKey)
    const own = freeze(record)
    const present = records.get(own.name)
    const durable = await store.commit([
      {
        table: 'agents',
        key: own.name,
        value: formatRecord(own),
        // Another process with the same store must not be overwritten unseen.
        expected: present === undefined ? null : formatRecord(present),
      },
      ...others.changes,
    ])
    if (durable === null) return false
    others.applied()
    admit(own)
    listeners.notify(own)
    return true
  }

  const updateTogether: StoredDirectory['updateTogether'] = (name, change, others) =>
    writes.run(async () => {
      const next = change(records.get(name) ?? null)
      if (next === null) return false
      assertAdmissible(next, records, namesByKey)
      const joint = await others()
      return joint === null ? false : write(next, joint)
    })

  return {
    find: (name) => records.get(name) ?? null,
    findBySigningKey: (keyId) => records.get(namesByKey.get(keyId) ?? '') ?? null,
    list: () => [...records.values()],
    put: (record) =>
      writes.run(async () => {
        if (!(await write(record, noChanges)))
          throw new Error(`the record of ${record.name} moved on`)
      }),
    update: (name, change) =>
      writes.run(async () => {
        const next = change(records.get(name) ?? null)
        if (next === null) return null
        if (!(await write(next, noChanges))) throw new Error(`the record of ${name} moved on`)
        return records.get(name) ?? null
      }),
    updateTogether,
    commit: (make) =>
      writes.run(async () => {
        const { changes, applied } = make()
        const durable = await store.commit(changes)
        if (durable === null) return false
        applied()
        return true
      }),
    onChange: (listener) => listeners.add(listener),
  }
}

function assertAdmissible(
  record: AgentRecord,
  records: ReadonlyMap<string, AgentRecord>,
  namesByKey: ReadonlyMap<string, string>,
): void {
  if (!isAgentName(record.name)) throw new TypeError('not an agent name')
  if (isReservedName(record.name)) throw new TypeError(`${record.name} is reserved`)
  if (!records.has(record.name) && records.size >= agentsMax) throw new Error('directory is full')
  const holder = namesByKey.get(record.keys?.signing.keyId ?? '')
  // Two owners of one key could each disown what the other signed.
  if (holder !== undefined && holder !== record.name) {
    throw new TypeError(`the signing key belongs to ${holder}`)
  }
}

/** Own copies of the key bytes: the caller's buffers may be reused. */
function freeze(record: AgentRecord): AgentRecord {
  return parseRecord(formatRecord(record))
}

const keySchema = z.strictObject({ keyId: z.string().min(1), publicKey: z.string() })
const recordSchema = z.strictObject({
  name: z.string().refine((text) => isAgentName(text)),
  kind: z.enum(['agent', 'user']),
  roles: z.array(z.string()),
  segment: z.string(),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  status: z.enum(['active', 'quarantined', 'revoked']),
  statusReason: z.string(),
  keys: z.strictObject({ signing: keySchema, sealing: keySchema }).nullable(),
  // Records of earlier versions have none.
  generation: z.number().int().min(0).default(0),
  createdAt: z.number(),
})

function formatRecord(record: AgentRecord): string {
  const { name, kind, roles, segment, attributes, status, statusReason, keys, createdAt } = record
  const { generation } = record
  const format = (key: { keyId: string; publicKey: Uint8Array }) => ({
    keyId: key.keyId,
    publicKey: toBase64Url(key.publicKey),
  })
  const formattedKeys =
    keys === null ? null : { signing: format(keys.signing), sealing: format(keys.sealing) }
  const fields = { name, kind, roles, segment, attributes, status, statusReason }
  // Zero is left out: a record that was stored without it must be formatted as it stands.
  const enrolled = generation === 0 ? {} : { generation }
  return JSON.stringify({ ...fields, keys: formattedKeys, ...enrolled, createdAt })
}

function parseRecord(text: string): AgentRecord {
  const fields = recordSchema.parse(JSON.parse(text))
  const { keys } = fields
  return Object.freeze({
    ...fields,
    keys: keys && { signing: parseKey(keys.signing), sealing: parseKey(keys.sealing) },
  })
}

function parseKey(key: { keyId: string; publicKey: string }) {
  const publicKey = parseBase64Url(key.publicKey)
  if (publicKey?.length !== 32) throw new TypeError('a stored public key is not 32 bytes')
  return { keyId: key.keyId, publicKey }
}
