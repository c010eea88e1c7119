import {
  batchEntriesMax,
  equalBytes,
  MalformedError,
  parseBatch,
  type SignedBatch,
  type StatedIn,
  treePathWith,
  treeRootWith,
} from '@countersign/protocol'
import { sha256 } from '../lib/sha256.ts'
import type { EntryReader, ReadEntry } from './entry-reader.ts'
import type { SaltedFact } from './facts.ts'
import { parseRefused, type RefusedLeaves } from './stated-entry.ts'
import { LedgerDamage } from './store.ts'

/** The content of an entry of kind `batch`. */
export interface LoggedBatch {
  readonly statement: Uint8Array
  readonly key: Uint8Array
  readonly signed: SignedBatch
  readonly refused: RefusedLeaves
  /** The index of its first entry that was taken. */
  readonly first: number
}

type Reader = Pick<EntryReader, 'findBatch' | 'read' | 'leafHash'>

/**
 * The statement of the batch of an entry, with its place; null for an entry of the fabric itself,
 * and `erased` where the facts of the batch are gone. Rejects with LedgerDamage where no batch
 * states an entry that names a producer.
 */
export async function findStated(
  { index, facts }: Pick<ReadEntry, 'index' | 'facts'>,
  reader: Reader,
  size: number,
): Promise<StatedIn | 'erased' | null> {
  if (!facts.some(({ name }) => name === 'producer')) return null
  const end = Math.min(size, index + 1 + batchEntriesMax)
  const at = await reader.findBatch(index + 1, end)
  if (at === null) throw new LedgerDamage(`no batch follows entry ${index} of a connector`)
  const entry = await reader.read(at)
  if (entry.erased !== null) return 'erased'
  const batch = readLoggedBatch(at, entry.facts)
  const { statement, key } = batch
  const hashes = await leafHashesOf(batch, reader)
  const position = positionOf(index, batch)
  if (position === null || !equalBytes(treeRootWith(sha256, hashes), batch.signed.statement.root)) {
    throw new LedgerDamage(`the batch at ${at} does not state entry ${index}`)
  }
  return { statement, key, index: position, path: treePathWith(sha256, hashes, position) }
}

/** Throws LedgerDamage on facts that no intake of a batch writes. */
export function readLoggedBatch(at: number, facts: readonly SaltedFact[]): LoggedBatch {
  const [statement, key] = [bytesOf(facts, 'statement'), bytesOf(facts, 'key')]
  if (statement === null || key === null)
    throw new LedgerDamage(`the batch at ${at} has no statement`)
  const gaps = bytesOf(facts, 'refused')
  const refused: RefusedLeaves = gaps === null ? new Map() : parseRefused(gaps)
  const signed = readSigned(at, statement)
  const first = at - (signed.statement.size - refused.size)
  return { statement, key, signed, refused, first }
}

/** The hashes of all leaves of a batch, in their order: those of the log, and the refused ones. */
export async function leafHashesOf(
  { signed, refused, first }: LoggedBatch,
  reader: Pick<EntryReader, 'leafHash'>,
): Promise<readonly Uint8Array[]> {
  const hashes: Uint8Array[] = []
  let next = first
  for (let position = 0; position < signed.statement.size; position++) {
    hashes.push(refused.get(position) ?? (await reader.leafHash(next++)))
  }
  return hashes
}

/** Null for an entry that is not in the batch. */
function positionOf(index: number, { signed, refused, first }: LoggedBatch): number | null {
  let next = first
  for (let position = 0; position < signed.statement.size; position++) {
    if (refused.has(position)) continue
    if (next === index) return position
    next += 1
  }
  return null
}

function readSigned(at: number, statement: Uint8Array): SignedBatch {
  try {
    return parseBatch(statement)
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause
    throw new LedgerDamage(`the statement of the batch at ${at} is malformed`, { cause })
  }
}

function bytesOf(facts: readonly SaltedFact[], name: string): Uint8Array | null {
  const value = facts.find((fact) => fact.name === name)?.value
  return value instanceof Uint8Array ? value : null
}
