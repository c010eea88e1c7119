import {
  isAgentName,
  isIssuerUrl,
  isReservedName,
  ListenerSet,
  parseBase64Url,
  parsePrincipal,
  toBase64Url,
} from '@countersign/protocol'
import { z } from 'zod'
import type { Projection } from '../state/projection.ts'
import type { StateChange } from '../state/state-store.ts'
import type { StateStream } from '../state/state-stream.ts'
import type { AgentRecord, Directory } from './directory.ts'
import type { Guards } from './guards.ts'

/** Returns the record that shall be; null leaves things as they are. */
export type ChangeRecord = (present: AgentRecord | null) => AgentRecord | null

/** The directory as the identity module itself uses it. */
export interface StoredDirectory extends Directory {
  /**
   * Replaces the record of `name` with `change` of the present one (null when there is none).
   * `change` runs again when another process was faster. Returns the record that is then there, or
   * null if nothing was changed.
   */
  update(name: string, change: ChangeRecord): Promise<AgentRecord | null>
  /**
   * As `update`, durable together with other changes, which are asked for after `change`: all or
   * none. False when `change` or `others` returned null. Other writes of this process wait for
   * `others`, which must wait for none of them; both run again when another process was faster.
   */
  updateTogether(
    name: string,
    change: ChangeRecord,
    others: () => readonly StateChange[] | null | Promise<readonly StateChange[] | null>,
  ): Promise<boolean>
  /** Called with the name of an agent that has enrolled again, in whichever process. */
  onEnrolledAgain(listener: (name: string) => void): () => void
}

/** A fabric of more agents than this needs another store than one that reads from memory. */
const agentsMax = 100_000

/** Answers from memory. Throws when a stored record makes no sense. */
export function createDirectory(
  stream: Pick<StateStream, 'project' | 'commit'>,
  guards: Guards,
): StoredDirectory {
  const namesByKey = new Map<string, string>()
  const records = stream.project<AgentRecord>({
    table: 'agents',
    parse: parseRow,
    format: formatRecord,
    index({ key: name, before, after }) {
      const old = before?.keys?.signing.keyId
      if (old !== undefined && namesByKey.get(old) === name) namesByKey.delete(old)
      if (after?.keys) namesByKey.set(after.keys.signing.keyId, name)
    },
  })
  const changed = new ListenerSet<AgentRecord>()
  const enrolledAgain = new ListenerSet<string>()
  records.onChange((changes) => {
    for (const { key, before, after } of changes) {
      if (after === null) continue
      changed.notify(after)
      const isAgain = after.generation > 1 && after.generation > (before?.generation ?? 0)
      if (isAgain) enrolledAgain.notify(key)
    }
  })

  const updateTogether: StoredDirectory['updateTogether'] = (name, change, others) =>
    stream.commit(async () => {
      const next = change(records.find(name))
      if (next === null) return null
      assertAdmissible(next, records, guards)
      // Of this moment: while `others` is awaited, another process may change the same rows.
      const own = [records.change(name, next), ...keyChanges(records.find(name), next, guards)]
      const joint = await others()
      return joint === null ? null : [...own, ...joint]
    })
  return {
    find: (name) => records.find(name),
    findBySigningKey: (keyId) => records.find(namesByKey.get(keyId) ?? ''),
    list: () => [...records.values()],
    async update(name, change) {
      return (await updateTogether(name, change, () => [])) ? records.find(name) : null
    },
    updateTogether,
    onChange: (listener) => changed.add(listener),
    onEnrolledAgain: (listener) => enrolledAgain.add(listener),
  }
}

/** The bare name of a principal of this fabric, or the canonical form of one of another issuer. */
function isRecordName(name: string): boolean {
  if (isAgentName(name)) return true
  return isIssuerUrl(parsePrincipal(name)?.issuer)
}

function assertAdmissible(
  { name, keys }: AgentRecord,
  records: Projection<AgentRecord>,
  guards: Guards,
): void {
  if (!isRecordName(name)) throw new TypeError('not a name of a principal')
  if (isReservedName(name)) throw new TypeError(`${name} is reserved`)
  if (records.find(name) === null && records.size >= agentsMax) throw new Error('directory is full')
  const holder = keys === null ? null : guards.find(ownerOf(keys.signing.keyId))
  // Two owners of one key could each disown what the other signed.
  if (holder !== null && holder !== name) {
    throw new TypeError(`the signing key belongs to ${holder}`)
  }
}

/** The row that two processes would both make if they enrolled two agents with one signing key. */
function ownerOf(keyId: string): string {
  return `signing-key/${keyId}`
}

function keyChanges(
  present: AgentRecord | null,
  next: AgentRecord,
  guards: Guards,
): readonly StateChange[] {
  const [before, after] = [present?.keys?.signing.keyId, next.keys?.signing.keyId]
  if (before === after) return []
  return [
    ...(before === undefined ? [] : [guards.change(ownerOf(before), null)]),
    ...(after === undefined ? [] : [guards.change(ownerOf(after), next.name)]),
  ]
}

const keySchema = z.strictObject({ keyId: z.string().min(1), publicKey: z.string() })
const recordSchema = z.strictObject({
  name: z.string().refine(isRecordName),
  kind: z.enum(['agent', 'user']),
  roles: z.array(z.string()),
  segment: z.string(),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  status: z.enum(['active', 'quarantined', 'revoked']),
  statusReason: z.string(),
  keys: z.strictObject({ signing: keySchema, sealing: keySchema }).nullable(),
  generation: z.number().int().min(0),
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
  return JSON.stringify({ ...fields, keys: formattedKeys, generation, createdAt })
}

function parseRow(name: string, text: string): AgentRecord {
  const record = parseRecord(text)
  if (record.name !== name) throw new TypeError(`the record of ${name} is that of ${record.name}`)
  const kind = parsePrincipal(name)?.kind ?? record.kind
  if (record.kind !== kind) throw new TypeError(`the record of ${name} is that of another kind`)
  return record
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
