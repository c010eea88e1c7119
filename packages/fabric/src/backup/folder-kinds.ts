import { isSlotName } from '@countersign/protocol'

/**
 * The treatment of a file in a backup. `log`: with the part that may be kept for ever. `keys`: with
 * the part that replaces the one before. `tiles`: what never changes under its name, copied once.
 * `made`: from a source of its own, such as a snapshot. `left`: not in a backup, because the next
 * start makes it, or because a copy of it counts as lost.
 */
export type FileKind = 'log' | 'keys' | 'tiles' | 'made' | 'left'

type Kinds = readonly (readonly [name: RegExp, kind: FileKind])[]

/** Everything that a fabric has directly in its data folder. A folder stands for all in it. */
export const DATA_FOLDER_KINDS: Kinds = [
  [/^state\.db$/, 'made'],
  [/^(channels|ledger)$/, 'made'],
  [/^(trust\.json|ca\.pem|folder)$/, 'log'],
  [/^(secrets|operator|agents|passphrase\.json)$/, 'keys'],
  // The next start writes the policies from the state.
  [/^policies(\.mirror\.json|\.lock(-journal)?)?$/, 'left'],
  [/^(used-values|backup|demo-done)$/, 'left'],
  // The next start makes it from the log, which has nothing of a principal that was erased.
  [/^consumers$/, 'left'],
  [/^(leases|records)\.db$/, 'left'],
  [/^(state|leases|records)\.db-(wal|shm|journal)$/, 'left'],
  [/^fabric(-[a-z0-9-]+)?\.json$/, 'left'],
  [/^(start|secrets|backup)\.lock(-journal)?$/, 'left'],
]

/** Everything that a log slot has in its folder, `ledger/<slot>`. */
export const SLOT_FOLDER_KINDS: Kinds = [
  [/^log$/, 'tiles'],
  // The copy has everything in tiles, and a head of its own.
  [/^(wal|head|lock(-journal)?)$/, 'left'],
  [/^restored\.json$/, 'left'],
  // Its tail may be torn in a copy, behind its mark: as after a crash.
  [/^subjects$/, 'log'],
  [/^subjects\.new$/, 'left'],
]

/** Everything in the folder `log` of a slot. */
export const LOG_FOLDER_KINDS: Kinds = [
  [/^(checkpoint|retention|pruned)$/, 'made'],
  [/^pruning$/, 'left'],
  [/^(tile|detail)$/, 'tiles'],
  [/^(index|terms)$/, 'left'],
]

/** Null for a file that no version of the fabric makes: an operator put it there. */
export function kindOf(kinds: Kinds, name: string): FileKind | null {
  return kinds.find(([pattern]) => pattern.test(name))?.[1] ?? null
}

/**
 * Reports whether a backup can have this file of a data folder in this part. A restore takes no
 * other one: locks, leases and used values of another time are never put back.
 */
export function isRestorable(part: 'log' | 'keys', path: string): boolean {
  const [name = '', slot, ...rest] = path.split('/')
  const kind = kindOf(DATA_FOLDER_KINDS, name)
  if (part === 'keys') return kind === 'keys'
  if (name !== 'ledger') return kind === 'log' || kind === 'made'
  const file = rest.join('/')
  const isMade = /^log\/(checkpoint|retention|pruned\/[1-9][0-9]{0,15})$/.test(file)
  const isKnown = isMade || kindOf(SLOT_FOLDER_KINDS, file) === 'log'
  return isSlotName(slot) && isKnown
}
