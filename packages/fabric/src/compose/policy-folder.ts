import { accessSync, constants } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { LockHeld, lockFile } from '../adapters/file/file-lock.ts'
import type { Config } from '../config/config.ts'
import { makeFolder } from '../lib/named-path.ts'
import { installDefaultPolicies } from '../policy/policy-files.ts'

/** The policy folder of a fabric, which processes that share it write in turn. */
export function policyFolder({ dataDir, policyDir }: Pick<Config, 'dataDir' | 'policyDir'>) {
  const beside = placeBeside(policyDir) ?? join(dataDir, basename(policyDir))
  return {
    dir: policyDir,
    marker: `${beside}.mirror.json`,
    claim: () => lockOrNull(`${beside}.lock`),
    install: () => installDefaultPolicies(policyDir),
  }
}

/** Next to the folder, where all of its processes look; null if they cannot make files there. */
function placeBeside(policyDir: string): string | null {
  const parent = dirname(policyDir)
  try {
    makeFolder(parent)
    accessSync(parent, constants.W_OK)
    return policyDir
  } catch {
    return null
  }
}

function lockOrNull(path: string): (() => void) | null {
  try {
    return lockFile(path, 'the policy folder')
  } catch (cause) {
    if (cause instanceof LockHeld) return null
    throw cause
  }
}
