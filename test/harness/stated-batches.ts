import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  type BatchStatement,
  concat,
  draftBatch,
  encodePackedBatch,
  hashLeafWith,
  logOrigin,
  type MeshEntry,
  noBatchBefore,
  type PackedEntry,
  treeRootWith,
} from '@countersign/protocol'
import { encodeCbor } from '../../packages/protocol/src/encoding/cbor.ts'
import { trustDomain } from './doors.ts'

/** An enrolled agent, as far as it states entries. */
export interface Stater {
  readonly spiffeId: string
  readonly signing: { readonly keyId: string; readonly privateKey: KeyObject }
}

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

/**
 * An entry as its connector encodes it, and as one would that the intake has to refuse: nothing is
 * checked, and the encoder is not that of a connector.
 */
export function packedEntry(
  { kind, exchange, facts }: Pick<MeshEntry, 'exchange' | 'facts'> & { readonly kind: string },
  at: number = Date.now(),
): PackedEntry {
  const commitments = new Map<string, Uint8Array>()
  const details: Uint8Array[] = []
  for (const [name, value] of Object.entries(facts)) {
    const salt = new Uint8Array(randomBytes(16))
    const fact = encodeCbor([name, value])
    commitments.set(name, sha256(concat(Uint8Array.of(2), salt, fact)))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(fact.length)
    details.push(salt, length, fact)
  }
  const leaf = encodeCbor([2, exchange, kind, at, commitments])
  return { leaf, detail: concat(...details) }
}

/** The entries of an honest connector name the transport and itself. */
export function packedAs({ spiffeId }: Stater, entry: MeshEntry, at?: number): PackedEntry {
  const facts = { transport: 'mesh', producer: spiffeId, ...entry.facts }
  return packedEntry({ ...entry, facts }, at)
}

/** A statement about these entries, the first of a chain, with what a test changes in it. */
export function statedBatch(
  { spiffeId, signing }: Stater,
  entries: readonly PackedEntry[],
  change: Partial<BatchStatement> = {},
): Uint8Array {
  const leaves = entries.map(({ leaf }) => hashLeafWith(sha256, leaf))
  const draft = draftBatch(
    {
      ...{ origin: logOrigin(trustDomain, 'a'), producer: spiffeId },
      ...{ chain: new Uint8Array(randomBytes(16)), n: 0, prev: noBatchBefore, at: Date.now() },
      ...{ size: entries.length, root: treeRootWith(sha256, leaves), ...change },
    },
    signing.keyId,
  )
  return draft.encode(new Uint8Array(sign(null, draft.signed, signing.privateKey)))
}

/** The body of a batch of the connector of `agent`. */
export function batchBody(agent: Stater, entries: readonly MeshEntry[]): Uint8Array {
  const packed = entries.map((entry) => packedAs(agent, entry))
  return encodePackedBatch({ statement: statedBatch(agent, packed), entries: packed })
}
