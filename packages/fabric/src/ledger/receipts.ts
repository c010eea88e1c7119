import {
  createReceipt,
  type DisclosedFact,
  formatTlogProof,
  isExchangeId,
  type ReceiptEntry,
} from '@countersign/protocol'
import type { EntryReader, ReadEntry } from './entry-reader.ts'
import { closesExchange } from './exchange-index.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { HandedOut } from './publisher.ts'
import { findStated } from './stated-in.ts'
import type { SyncedHead } from './synced-heads.ts'
import type { Tree } from './tree.ts'

export interface ReceiptParts {
  readonly origin: string
  readonly tree: Tree
  readonly pruned: PrunedPart
  readonly reader: EntryReader
  /** Acknowledged entries. */
  readonly size: number
  /** Resolves to a head over at least `size` entries, whose checkpoint may leave. */
  readonly handOut: (size: number) => Promise<HandedOut>
}

/**
 * The prefix of facts that the operator's side keeps to itself; the receipt shows that they exist,
 * and no more.
 */
const privatePrefix = 'private.'

/**
 * The receipt over what closed the exchange, and the intent before it, or null while it is open,
 * and once a subject of it was erased, or its intent was pruned.
 * Both proofs lead to one signed checkpoint.
 */
export async function findReceipt(
  exchange: string,
  entries: readonly ReadEntry[],
  parts: ReceiptParts,
): Promise<Uint8Array | null> {
  if (!isExchangeId(exchange) || parts.pruned.isCut(exchange)) return null
  const closing = entries.findLast(({ leaf }) => closesExchange(leaf.kind))
  if (closing === undefined) return null
  const intent = entries.find(({ leaf }) => leaf.kind === 'intent')
  const chosen = intent === undefined ? [closing] : [intent, closing]
  // Without its facts, a receipt would prove that there was an exchange, and nothing about it.
  if (chosen.some(({ erased }) => erased !== null)) return null
  const shown: ReceiptEntry[] = []
  const { head, level } = await parts.handOut(closing.index + 1)
  for (const entry of chosen) {
    const stated = await findStated(entry, parts.reader, parts.size)
    // Its agent was erased since the entries were read.
    if (stated === 'erased') return null
    shown.push({ ...(await receiptEntry(entry, parts.tree, head)), stated })
  }
  return createReceipt({ exchange, origin: parts.origin, level, entries: shown })
}

async function receiptEntry(
  entry: ReadEntry,
  tree: Tree,
  head: SyncedHead,
): Promise<Omit<ReceiptEntry, 'stated'>> {
  const path = await tree.inclusionPath(entry.index, head.size)
  const facts: Record<string, DisclosedFact> = {}
  for (const { name, salt, value } of entry.facts) {
    if (!name.startsWith(privatePrefix)) facts[name] = { salt, value }
  }
  const proof = formatTlogProof({ index: entry.index, path, checkpoint: head.checkpoint })
  return { leaf: entry.encoded, proof, facts }
}

/** The entries of `indexes` that are acknowledged and truly about the exchange. */
export async function readExchange(
  exchange: string,
  indexes: readonly number[],
  reader: EntryReader,
): Promise<readonly ReadEntry[]> {
  const entries = await reader.readFew(indexes)
  return entries.filter(({ leaf }) => leaf.exchange === exchange)
}
