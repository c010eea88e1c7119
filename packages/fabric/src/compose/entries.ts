import type { Approvals } from '../approvals/approvals.ts'
import { isProvenRequest } from '../identity/caller-proof.ts'
import { Ed25519Keys } from '../identity/ed25519-keys.ts'
import { BatchIntake } from '../ledger/batch-intake.ts'
import { createEntryAdmission, type EntryAdmission } from '../ledger/entry-admission.ts'
import { sha256 } from '../lib/sha256.ts'
import type { AuthorizeDeps } from '../pipeline/authorize.ts'
import { checkStatedDecisions } from '../policy/stated-decision.ts'
import type { Environment, Stores } from './stores.ts'

/**
 * Batches of connectors are held to the keys of the directory; their entries are proved by identity
 * and policy.
 */
export function composeEntryIntake(
  { clock, config }: Environment,
  stores: Stores,
  parts: {
    readonly authorization: AuthorizeDeps
    readonly approvals: Approvals
  },
): { readonly batches: BatchIntake; readonly entries: EntryAdmission } {
  const { ledger, feed, keys } = stores
  const { authorization } = parts
  const { signatures, directory } = stores.identity
  const signingKeys = new Ed25519Keys()
  const batches = new BatchIntake({
    ledger,
    findKey: (name) => directory.find(name)?.keys?.signing ?? null,
    verify: (...signed) => signingKeys.verify(...signed),
  })
  const entries = createEntryAdmission({
    findPrincipal: (name) => directory.find(name),
    hasReceiver: (name) => authorization.findReceiver('agent', name) !== null,
    trust: { trustDomain: config.trustDomain, fabricKey: keys.fabric.publicKey },
    verify: (...signed) => signingKeys.verify(...signed),
    hash: sha256,
    isProvenRequest: (request) =>
      isProvenRequest(request, { signatures, find: (name) => directory.find(name) }),
    isApproved: (stated) => parts.approvals.isUsedBy(stated),
    decisionFault: checkStatedDecisions(stores, clock, {
      findPrincipal: (name) => directory.find(name),
      findReceiver: (kind, name) => authorization.findReceiver(kind, name),
    }),
    ledger: {
      slot: ledger.slot,
      appendBatch: (entries, batch) => feed.appendBatch(entries, batch),
      explain: (exchange) => ledger.explain(exchange),
      openIntent: (exchange) => ledger.openIntent(exchange),
    },
  })
  return { batches, entries }
}
