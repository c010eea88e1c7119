import { setTimeout } from 'node:timers/promises'
import { compilePolicies, type PolicyCompilation } from './compile-policies.ts'
import { changeBetween, type RecordPolicyChange } from './policy-change.ts'
import { readPolicyFolder } from './policy-folder.ts'
import type { PolicyMirror } from './policy-mirror.ts'
import type { PolicyRows, PolicyStream } from './policy-rows.ts'
import type { CompiledPolicySet } from './policy-set.ts'
import { isSame } from './policy-sources.ts'

/** A start that loses to the changes of others this often does not go on. */
const openingsMax = 5

/** The first set is committed within it by the process that has the folder. */
const firstMs = 10_000
const firstPollMs = 100

export interface FirstPoliciesOptions extends PolicyCompilation {
  readonly state: Pick<PolicyStream, 'refresh'>
  readonly dir: string
  readonly record: RecordPolicyChange
  /** Called before the first set of all is read from the folder. */
  readonly install?: () => Promise<void>
  readonly onUnmirrored: (error: unknown) => void
}

/**
 * Returns the set of the state. The first process of all takes it from the folder, and so does one
 * whose folder was edited on the basis of the set in force while the process did not run. Rejects
 * with `PoliciesRejected` when the set does not compile here.
 */
export async function firstPolicies(
  options: FirstPoliciesOptions,
  rows: PolicyRows,
  mirror: PolicyMirror,
): Promise<CompiledPolicySet> {
  for (let opening = 0; opening < openingsMax; opening++) {
    if (rows.stored === null && !mirror.holds()) await awaitFirst(options, rows)
    const { stored } = rows
    if (stored === null) await options.install?.()
    // First, so that the operator finds the files that a rejection names.
    else if (!mirror.mirrors(stored)) await mirror.write(stored).catch(options.onUnmirrored)
    const isFromFolder = stored === null || mirror.mirrors(stored)
    const sources = isFromFolder ? await readPolicyFolder(options.dir) : stored.sources
    const set = await compilePolicies(sources, options)
    if (stored !== null && isSame(sources, stored.sources)) return set
    // No set has decided before the first one; the entry of the start states its version.
    const record = async (): Promise<boolean> => {
      if (stored === null) return true
      const refusal = await options.record(changeBetween(stored, set, null))
      if (refusal === null) return true
      throw new Error(`the change of the policies is not on record: ${refusal.detail}`)
    }
    if (!(await rows.replace(stored, set, record)) || rows.stored === null) continue
    await mirror.write(rows.stored, [])
    return set
  }
  throw new Error(`other fabrics changed the policies during ${openingsMax} attempts to read them`)
}

async function awaitFirst({ state }: FirstPoliciesOptions, rows: PolicyRows): Promise<void> {
  for (let waited = 0; waited < firstMs; waited += firstPollMs) {
    await state.refresh()
    if (rows.stored !== null) return
    await setTimeout(firstPollMs)
  }
  throw new Error(`the process that has the policy folder has committed no set for ${firstMs} ms`)
}
