import { createHash } from 'node:crypto'
import {
  type BatchStatement,
  equalBytes,
  MalformedError,
  type PackedBatch,
  parseBatch,
  treeRootWith,
  type VerifySignature,
} from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import type { Connector } from './exchange-claims.ts'
import type { CommittedBatch, EntryDraft, Ledger } from './ledger.ts'
import type { OpenedEntry } from './ledger-reads.ts'
import {
  encodeRefused,
  isUnread,
  parseRefused,
  type ReceivedEntry,
  type RefusedLeaves,
  readStatedEntry,
  type StatedEntry,
} from './stated-entry.ts'
import { LedgerDamage } from './store.ts'

/** A statement is made when it is sent, and clocks differ. */
const statedWindowMs = 300_000

/** Chains whose last batch is known without a look into the log; the oldest is forgotten. */
export const chainsKnownMax = 4_096

/** Batches of one chain that are being recorded: the one after it needs its result. */
const batchesLimit = { name: 'mesh.batchesAtOnce', value: 1, unit: 'count' } as const
const batchesPauseMs = 1_000

export interface BatchIntakeOptions {
  readonly ledger: Pick<Ledger, 'origin' | 'findBatch'>
  /** The signing key of an agent; null if it has none. */
  findKey(name: string): { readonly keyId: string; readonly publicKey: Uint8Array } | null
  readonly verify: VerifySignature
}

/** A batch as it was received, in the order of its leaves. Its statement is not verified. */
export interface ReceivedBatch {
  readonly statement: Uint8Array
  readonly entries: readonly ReceivedEntry[]
}

/** A batch whose statement stands, and that may be recorded. */
export interface AcceptedBatch extends ReceivedBatch {
  /** Null for a batch that is not on record yet. */
  readonly recorded: RecordedBatch | null
  /** The entry about the batch, of which `isTaken` selects the entries that are stored. */
  entryAbout(isTaken: (entry: StatedEntry) => boolean, at: number): EntryDraft
  /** Called with what was recorded, or null when nothing was, and once. */
  release(committed: CommittedBatch | null): void
}

/** The answer to a batch that is sent again. */
export interface RecordedBatch {
  /** Of the entry about it. */
  readonly index: number
  /** By position; null for an entry that was refused. */
  readonly indexes: readonly (number | null)[]
}

interface ChainEnd {
  readonly n: number
  readonly statementHash: Uint8Array
  readonly producer: string
}

/**
 * Holds each connector to its statements: by its own key, over exactly these leaves, for this log,
 * and as the next batch of its chain.
 */
export class BatchIntake {
  readonly #options: BatchIntakeOptions
  /** By chain, the least recently used first. */
  readonly #ends = new Map<string, ChainEnd>()
  readonly #held = new Set<string>()

  constructor(options: BatchIntakeOptions) {
    this.#options = options
  }

  /** Reads the leaves of a batch, each by itself. Throws a MalformedError on a leaf too large. */
  read({ statement, entries }: PackedBatch): ReceivedBatch {
    return { statement, entries: entries.map(readStatedEntry) }
  }

  /** Resolves to the batch, which holds its chain until `release`, or to a refusal. */
  async accept(
    batch: ReceivedBatch,
    connector: Connector,
    now: number,
  ): Promise<AcceptedBatch | Refusal> {
    const signed = await this.#verified(batch, connector)
    if (signed instanceof Refusal) return signed
    const { statement, key } = signed
    const chain = chainKey(statement)
    if (this.#held.has(chain)) {
      const detail = `another batch of ${connector.name} is being recorded`
      return overLimit('OVERLOADED', batchesLimit, detail, batchesPauseMs)
    }
    this.#held.add(chain)
    try {
      const placed = await this.#placed(batch, statement, now)
      if (placed instanceof Refusal) {
        this.#held.delete(chain)
        return placed
      }
      return {
        ...batch,
        recorded: placed,
        entryAbout: (isTaken, at) => entryAbout({ ...batch, stated: statement, key, at }, isTaken),
        release: (committed) => {
          this.#held.delete(chain)
          if (committed === null || committed.index === null) return
          this.#remember(chain, endOf(batch.statement, statement))
        },
      }
    } catch (cause) {
      this.#held.delete(chain)
      throw cause
    }
  }

  async #verified({ statement: bytes, entries }: ReceivedBatch, { principal, name }: Connector) {
    const { ledger, findKey, verify } = this.#options
    const read = readStatement(bytes)
    if (read instanceof Refusal) return read
    const { statement, keyId, signed, signature } = read
    const refuse = (detail: string) => new Refusal('NOT_PERMITTED', detail)
    if (statement.producer !== principal) {
      return refuse(`${name} does not state entries of ${statement.producer}`)
    }
    if (statement.origin !== ledger.origin) {
      return refuse(`the batch is stated for ${statement.origin}, and this is ${ledger.origin}`)
    }
    const key = findKey(name)
    if (key === null || key.keyId !== keyId) {
      return refuse(`the batch is not stated by the key of ${name}`)
    }
    if (!(await verify(key.publicKey, signature, signed))) {
      return refuse(`the statement of ${name} has another signature`)
    }
    const leafHashes = entries.map(({ leafHash }) => leafHash)
    const isWhole = statement.size === entries.length
    if (!isWhole || !equalBytes(treeRootWith(sha256, leafHashes), statement.root)) {
      return refuse('the batch has other leaves than its statement')
    }
    return { statement, key: key.publicKey }
  }

  /** Null for the next batch of its chain. */
  async #placed(
    batch: ReceivedBatch,
    statement: BatchStatement,
    now: number,
  ): Promise<RecordedBatch | Refusal | null> {
    const { ledger } = this.#options
    const { n, prev, producer, at } = statement
    const known = this.#ends.get(chainKey(statement)) ?? null
    const isNext = known !== null && known.n === n - 1
    if (!isNext) {
      const found = await ledger.findBatch(batchId(statement.chain, n))
      if (found !== null) return recordedBatch(batch, found)
    }
    if (Math.abs(now - at) > statedWindowMs) {
      return new Refusal('NOT_PERMITTED', 'the batch was not stated within five minutes of now')
    }
    if (n === 0) return null
    const before = isNext ? known : await this.#endInLog(statement)
    if (before === null || before.producer !== producer) {
      return new Refusal('NOT_PERMITTED', `batch ${n} of the chain has none before it on record`)
    }
    if (!equalBytes(before.statementHash, prev)) {
      return new Refusal('NOT_PERMITTED', `batch ${n} of the chain continues another statement`)
    }
    return null
  }

  /** After a start, or where other chains were used since. */
  async #endInLog({ chain, n }: BatchStatement): Promise<ChainEnd | null> {
    const found = await this.#options.ledger.findBatch(batchId(chain, n - 1))
    if (found === null) return null
    const bytes = bytesFact(found, 'statement')
    return endOf(bytes, parseBatch(bytes).statement)
  }

  #remember(chain: string, end: ChainEnd): void {
    this.#ends.delete(chain)
    this.#ends.set(chain, end)
    const [oldest] = this.#ends.keys()
    if (this.#ends.size > chainsKnownMax && oldest !== undefined) this.#ends.delete(oldest)
  }
}

/** The id of the entry about a batch, which names its chain only to those who know it. */
export function batchId(chain: Uint8Array, n: number): string {
  const number = Buffer.alloc(8)
  number.writeBigUInt64BE(BigInt(n))
  const hash = createHash('sha256').update(chain).update(number).digest('hex')
  return `bat_${hash.slice(0, 32)}`
}

function chainKey({ chain, producer }: BatchStatement): string {
  return `${producer} ${Buffer.from(chain).toString('hex')}`
}

function endOf(bytes: Uint8Array, { n, producer }: BatchStatement): ChainEnd {
  return { n, producer, statementHash: sha256(bytes) }
}

function readStatement(bytes: Uint8Array) {
  try {
    return parseBatch(bytes)
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause
    return new Refusal('MESSAGE_MALFORMED', cause.message)
  }
}

interface About {
  readonly entries: readonly ReceivedEntry[]
  readonly statement: Uint8Array
  readonly stated: BatchStatement
  readonly key: Uint8Array
  readonly at: number
}

function entryAbout(
  { entries, statement, stated, key, at }: About,
  isTaken: (entry: StatedEntry) => boolean,
): EntryDraft {
  const refused = new Map<number, Uint8Array>()
  for (const [position, entry] of entries.entries()) {
    if (isUnread(entry) || !isTaken(entry)) refused.set(position, entry.leafHash)
  }
  const facts = { producer: stated.producer, key, statement }
  const gaps = refused.size === 0 ? {} : { refused: encodeRefused(refused) }
  return {
    kind: 'batch',
    exchange: batchId(stated.chain, stated.n),
    at,
    facts: { ...facts, ...gaps },
  }
}

/** The result of a batch that is on record under its number; a refusal if that is another one. */
function recordedBatch(
  { statement, entries }: ReceivedBatch,
  found: OpenedEntry,
): RecordedBatch | Refusal {
  if (!equalBytes(bytesFact(found, 'statement'), statement)) {
    return new Refusal('NOT_PERMITTED', 'another batch is on record under the same number')
  }
  const refused = refusedOf(found)
  let index = found.index - (entries.length - refused.size)
  const indexes = entries.map((_, position) => (refused.has(position) ? null : index++))
  return { index: found.index, indexes }
}

export function refusedOf({ facts }: Pick<OpenedEntry, 'facts'>): RefusedLeaves {
  const bytes = facts['refused']
  return bytes instanceof Uint8Array ? parseRefused(bytes) : new Map()
}

function bytesFact({ facts, index }: OpenedEntry, name: string): Uint8Array {
  const value = facts[name]
  if (value instanceof Uint8Array) return value
  throw new LedgerDamage(`the batch at ${index} has no ${name}`)
}
