import type { Refusal } from '../lib/refusal.ts'
import { PoliciesRejected } from './compile-policies.ts'
import type { CompiledPolicySet, PolicySource } from './policy-set.ts'

/**
 * The differences between a set of policies and the one that it replaces, for its entry in the
 * ledger.
 */
export interface PolicyChange {
  /** Of the set that is about to take effect. */
  readonly version: string
  /** Names of the files that were added, changed or removed. */
  readonly files: readonly string[]
  /** The exchange that put one of them, and `files` for each change made in the folder itself. */
  readonly changedBy: readonly string[]
}

/**
 * Puts a change on record. Null once the entry would survive a power loss; the refusal when it
 * would not, and then the change must not take effect.
 */
export type RecordPolicyChange = (change: PolicyChange) => Promise<Refusal | null>

/** Another process changed the set between the reading of it and the commit on top of it. */
export class PoliciesMovedOn extends PoliciesRejected {
  constructor({ files }: Pick<PolicyChange, 'files'>, version: string) {
    const message = `the policies have changed meanwhile and have the version ${version}`
    const help = 'look at `countersign policy show`, then make the change again if it still fits'
    super([{ file: files[0] ?? 'policies', line: 1, column: 1, message, help }])
  }
}

/** A policy file as an exchange put it. */
export interface PutFile extends PolicySource {
  readonly exchange: string
}

/** `put` is null where the folder alone was read. */
export function changeBetween(
  before: PolicyTexts,
  after: PolicyTexts & Pick<CompiledPolicySet, 'version'>,
  put: PutFile | null,
): PolicyChange {
  const [old, present] = [textsOf(before), textsOf(after)]
  const names = [...new Set([...old.keys(), ...present.keys()])].toSorted()
  const files = names.filter((name) => old.get(name) !== present.get(name))
  const causes = files.map((name) => (put?.name === name ? put.exchange : 'files'))
  return { version: after.version, files, changedBy: [...new Set(causes)].toSorted() }
}

type PolicyTexts = Pick<CompiledPolicySet, 'sources'>

function textsOf({ sources }: PolicyTexts): ReadonlyMap<string, string> {
  return new Map(sources.map(({ name, text }) => [name, text]))
}
