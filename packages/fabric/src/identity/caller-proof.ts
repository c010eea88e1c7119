import { parseSignatureBase, parseSpiffeId, requestSignatureTag } from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import type { AgentRecord } from './directory.ts'
import type { MessageSignatures } from './message-signatures.ts'
import { callerOf } from './standing.ts'

/** What tells a caller's doing from a connector's word for it. */
export interface CallerProofs {
  readonly signatures: Pick<MessageSignatures, 'checkRequest'>
  find(name: string): AgentRecord | null
}

/**
 * Whether the caller that the facts of an entry name signed the request, for this connector, just now
 * and for the first time. Claims the nonce, so it must be asked once for each entry.
 */
export async function isProvenRequest(
  facts: Readonly<Record<string, unknown>>,
  producer: string,
  { signatures, find }: CallerProofs,
): Promise<boolean> {
  const { caller } = facts
  const signature = facts['request.signature']
  const base = facts['request.signature-base']
  const id = typeof caller === 'string' ? parseSpiffeId(caller) : null
  if (
    id === null ||
    id.instance !== null ||
    typeof base !== 'string' ||
    !(signature instanceof Uint8Array)
  )
    return false
  try {
    const { values, params } = parseSignatureBase(base)
    if (params.tag !== requestSignatureTag) return false
    if (values.get('"countersign-to"') !== producer) return false
    const proof = { method: 'certificate', credentialId: '', scopes: null, expiresAt: 0 } as const
    const signer = callerOf(find(id.name), { ...proof, spiffeId: String(caller) })
    if (signer instanceof Refusal || signer.kind !== id.kind) return false
    const components = [...values.keys()]
    const signed = { ...params, label: 'caller', components, signature, base }
    return (await signatures.checkRequest(signed, signer)) === null
  } catch {
    // Not to be read, or the replay guard is full: nobody is taken at another's word.
    return false
  }
}
