import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { openConfiguredMasterKey } from '../adapters/file/master-key.ts'
import { inspectFileSecrets, isSecretFile } from '../adapters/file/secret-store.ts'
import { openOsKeyring } from '../adapters/keyring/os-keyring.ts'
import type { Config } from '../config/config.ts'

/** The folder of the secrets, in the data folder. */
export const SECRETS_FOLDER = 'secrets'

/** Each of them is made after the secrets, so that it proves that there were some. */
const traces = ['ledger', 'state.db', 'trust.json'] as const

/**
 * Rejects where secrets that were made are gone, before anything is written: new keys would be in
 * the place of those that a backup still has. Resolves to whether there are any.
 */
export async function assertSecretsKept(dataDir: string): Promise<boolean> {
  const dir = join(dataDir, SECRETS_FOLDER)
  // The store itself names the missing part of an incomplete folder.
  if ((await filesOf(dir)).some((name) => isSecretFile(name))) return true
  for (const trace of traces) {
    if (await exists(join(dataDir, trace))) throw new Error(secretsGone(dir, trace))
  }
  return false
}

function secretsGone(dir: string, trace: string): string {
  const lost = `${dir} has no index of secrets, so the key ledger/a/log and all others are missing`
  return `${lost}, but there is ${trace}: restore all of secrets/ from one backup`
}

/**
 * Opens every secret of a data folder and changes nothing. Resolves to their number, null before
 * the first start.
 */
export async function inspectSecrets(
  config: Pick<Config, 'dataDir' | 'masterKey'>,
): Promise<number | null> {
  const { dataDir, masterKey: place } = config
  if (!(await assertSecretsKept(dataDir))) return null
  const masterKey = await openConfiguredMasterKey(place, dataDir, makesNothing, openOsKeyring)
  return inspectFileSecrets({ dir: join(dataDir, SECRETS_FOLDER), masterKey })
}

/** In the place of randomness, where a missing part must not be made anew. */
function makesNothing(): never {
  throw new Error('a part of the master key is missing; restore it from a backup')
}

async function filesOf(dir: string): Promise<readonly string[]> {
  return readdir(dir).catch((error: unknown) => {
    if (isAbsence(error)) return []
    throw error
  })
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

function isAbsence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
