import { compilePolicies, type PolicyCompilation } from './compile-policies.ts'
import type { CompiledPolicySet, PolicySource } from './policy-set.ts'

/** A process that writes all the time must not keep a reader in the loop. */
const readingsMax = 5

/**
 * Compiles `sources` and reads them once more: what changed meanwhile was half written, and a file
 * caught empty would have lost its forbids. A file is best replaced by renaming.
 */
export async function compileSettled(
  sources: readonly PolicySource[],
  readAgain: () => Promise<readonly PolicySource[]>,
  options: PolicyCompilation,
): Promise<CompiledPolicySet> {
  let read = sources
  for (let reading = 0; reading < readingsMax; reading++) {
    const set = await compilePolicies(read, options)
    const again = await readAgain()
    if (isSame(read, again)) return set
    read = again
  }
  throw new Error(`the policy folder changed during ${readingsMax} readings; the old set stays`)
}

/** Sorted by name, as the folder is read. */
export function withSource(
  sources: readonly PolicySource[],
  { name, text }: PolicySource,
): readonly PolicySource[] {
  const others = sources.filter((source) => source.name !== name)
  return [...others, { name, text }].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

export function isSame(a: readonly PolicySource[], b: readonly PolicySource[]): boolean {
  if (a.length !== b.length) return false
  return a.every(({ name, text }, i) => name === b[i]?.name && text === b[i]?.text)
}
