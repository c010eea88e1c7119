import type { Approvals } from '../approvals/approvals.ts'
import { isProvenRequest } from '../identity/caller-proof.ts'
import { Ed25519Keys } from '../identity/ed25519-keys.ts'
import { createEntryAdmission, type EntryAdmission } from '../ledger/entry-admission.ts'
import { sha256 } from '../lib/sha256.ts'
import type { AuthorizeDeps } from '../pipeline/authorize.ts'
import { checkStatedDecisions } from '../policy/stated-decision.ts'
import type { Environment, Stores } from './stores.ts'

/** Entries of connectors are proved by identity and policy. */
export function composeEntryAdmission(
  { clock, config }: Environment,
  stores: Stores,
  parts: {
    readonly authorization: AuthorizeDeps
    readonly approvals: Approvals
  },
): EntryAdmission {
  const { ledger, feed, keys } = stores
  const { authorization } = parts
  const { signatures, directory } = stores.identity
  const signingKeys = new Ed25519Keys()
  return createEntryAdmission({
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
      append: (draft) => feed.append(draft),
      explain: (exchange) => ledger.explain(exchange),
      openIntent: (exchange) => ledger.openIntent(exchange),
    },
  })
}
