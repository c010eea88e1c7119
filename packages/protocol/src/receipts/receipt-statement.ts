import { keyThumbprint } from '../control/enrollment.ts'
import { equalBytes, toBase64 } from '../encoding/bytes.ts'
import type { JsonValue } from '../encoding/canonical.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { batchEntriesMax, parseBatch, type SignedBatch } from '../log/batch.ts'
import { hashLeaf, rootOfPath } from '../log/merkle.ts'
import { verifyEd25519 } from '../signatures/web-crypto.ts'
import { ReceiptError } from './receipt-error.ts'
import { readBytes, readMembers } from './trust.ts'

/** The batch in which the agent of a connector stated an entry, and the place of the entry. */
export interface StatedIn {
  /** As `draftBatch` encodes it. */
  readonly statement: Uint8Array
  /** Raw Ed25519 public key, of which the statement has the id. */
  readonly key: Uint8Array
  readonly index: number
  /** Sibling hashes from the leaf to the root of the batch. */
  readonly path: readonly Uint8Array[]
}

/** A statement that verified. */
export interface VerifiedStatement {
  /** RFC 7638 thumbprint of the key. */
  readonly keyId: string
  /** Unix milliseconds by the clock of the connector, when it signed the batch. */
  readonly at: number
}

/** A batch of 256 entries has no longer path. */
const pathMax = Math.log2(batchEntriesMax)

export function statedJson({ statement, key, index, path }: StatedIn): JsonValue {
  const hashes = path.map((hash) => toBase64(hash))
  return { statement: toBase64(statement), key: toBase64(key), index, path: hashes }
}

/** Throws a MalformedError on anything but what `statedJson` makes. */
export function readStated(value: JsonValue): StatedIn {
  const names = ['statement', 'key', 'index', 'path'] as const
  const { statement, key, index, path } = readMembers(value, names)
  if (typeof index !== 'number' || !Number.isSafeInteger(index)) {
    throw new MalformedError('the index of a stated entry is not an integer')
  }
  if (!Array.isArray(path) || path.length > pathMax) {
    throw new MalformedError('the path of a stated entry is malformed')
  }
  const hashes = path.map((hash: JsonValue) => readBytes(hash))
  return { statement: readBytes(statement), key: readBytes(key), index, path: hashes }
}

/**
 * Verifies that the producer of an entry stated it: an entry of a connector has a statement that
 * names the log and the producer, verifies under the key and leads to the leaf; an entry of the
 * fabric has none. Throws a ReceiptError.
 */
export async function verifyStated(
  { leaf, stated }: { readonly leaf: Uint8Array; readonly stated: StatedIn | null },
  { origin, producer }: { readonly origin: string; readonly producer: string | null },
): Promise<VerifiedStatement | null> {
  if (stated === null && producer === null) return null
  if (stated === null) throw rejected(`${producer} did not state it`)
  const { statement, keyId, signed, signature } = readBatch(stated.statement)
  if (statement.producer !== producer) throw rejected(`${statement.producer} stated it`)
  if (statement.origin !== origin) throw rejected(`it is stated for ${statement.origin}`)
  const isKey = stated.key.length === 32 && (await keyThumbprint('Ed25519', stated.key)) === keyId
  if (!isKey) throw rejected('the key is another one than that of the statement')
  const { index, path } = stated
  const leafHash = await hashLeaf(leaf)
  const root = await rootOfPath({ leafHash, index, size: statement.size, path })
  if (root === null || !equalBytes(root, statement.root)) {
    throw rejected('it is not in the batch at that place')
  }
  if (!(await verifyEd25519(stated.key, signature, signed))) {
    throw rejected('the signature is another one')
  }
  return { keyId, at: statement.at }
}

function rejected(detail: string): ReceiptError {
  return new ReceiptError('STATEMENT_REJECTED', detail)
}

function readBatch(bytes: Uint8Array): SignedBatch {
  try {
    return parseBatch(bytes)
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw rejected(error.message)
  }
}
