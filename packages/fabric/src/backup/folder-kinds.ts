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
  [/^checkpoint$/, 'made'],
  [/^(tile|detail)$/, 'tiles'],
  [/^(index|terms)$/, 'left'],
]

/** Null for a file that no version of the fabric makes: an operator put it there. */
export function kindOf(kinds: Kinds, name: string): FileKind | null {
  return kinds.find(([pattern]) => pattern.test(name))?.[1] ?? null
}
